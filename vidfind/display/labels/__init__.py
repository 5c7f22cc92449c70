"""Shows tags, classes, and suggestions to review."""
