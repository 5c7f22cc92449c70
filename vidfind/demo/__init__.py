"""Draws the small world of moving shapes, its captions and the videos of `vidfind demo`."""
