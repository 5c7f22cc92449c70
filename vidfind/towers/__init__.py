"""Runs the two towers of a model: one loop for image towers, what each family of them brings, and CLIP's text tower."""
