"""Measures how fast this machine decodes, encodes, indexes and searches."""

GROUPS = ("decode", "encode", "index", "search")
SEGMENTS = 100_000
"""How many segments are searched. Both constants stand here for the help of the command, which imports nothing else."""
