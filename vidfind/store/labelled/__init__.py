"""What people say about videos, tags and classes, and the marks that vidfind makes from that."""
