"""From files to frames: probing, sampling, decoding. Knows no model and no index."""
