"""A page in the browser: searches, shows and plays moments, for the owner of the videos alone."""
