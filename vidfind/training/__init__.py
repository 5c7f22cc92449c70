"""Fine-tuning on captions, and evaluating what an encoder finds."""
