"""The text half of a model without PyTorch: tokenizers, and text towers in numpy."""
