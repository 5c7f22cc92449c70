"""Turns words into vectors of an index without PyTorch, and computes how well they fit what is in the index."""
