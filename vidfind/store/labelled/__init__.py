"""Labels that people give to videos, tags and classes, and the marks that vidfind makes from that."""
