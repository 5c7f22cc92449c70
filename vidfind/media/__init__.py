"""From files to frames: finding, probing, sampling, decoding. Knows no model and no index."""
