"""Indexing on many machines: a Ray cluster whose nodes read, decode and encode videos for one run."""
