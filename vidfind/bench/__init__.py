"""Measures how fast this machine decodes, encodes, indexes and searches."""

GROUPS = ("decode", "encode", "index", "search")
VIDEOS = ("phone", "long", "hevc")
"""Kinds of drawn videos."""
SEGMENTS = 100_000
"""How many segments are searched. All three stand here for the help of the command, which imports nothing else."""
