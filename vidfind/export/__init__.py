"""Writes moments as files: clips of videos, films of several clips, and timelines for editors and players."""
