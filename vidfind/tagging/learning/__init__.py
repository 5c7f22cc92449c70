"""Learns tags: from their names, from the videos that have them, and from which tags come together."""
