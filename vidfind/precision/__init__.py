"""Number formats of models on this machine: how fast each is, and products of 8-bit integers."""
