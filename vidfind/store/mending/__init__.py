"""Damage to an index: finds it, and mends what can be mended."""
