"""The built-in model: config, weights, how it was made."""
