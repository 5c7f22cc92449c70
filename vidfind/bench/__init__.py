"""Measures how fast this machine decodes, encodes, indexes and searches."""
