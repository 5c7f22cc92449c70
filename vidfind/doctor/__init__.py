"""Checks this machine, the models, adapters and indexes, and mends what can be mended."""
