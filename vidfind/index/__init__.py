"""The pipeline of `vidfind index`: plan, encode, write, watch."""
