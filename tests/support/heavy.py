"""What takes long to import."""

HEAVY = {"torch", "open_clip", "lancedb", "av", "decord", "numpy", "pyarrow", "rich", "platformdirs"}
"""Libraries that `--help` and the completion of names in shells must not import."""
