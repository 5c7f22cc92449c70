"""Tags and categories of videos, learnt from a few examples over the vectors that an index holds."""
