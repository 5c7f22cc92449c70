"""Turns words into vectors of an index, and says how well they fit what is in it."""
