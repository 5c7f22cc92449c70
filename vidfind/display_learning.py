"""What fine-tuning and judging show: recall tables, the bar of a training, adapters."""
