"""Where CLIP models and adapters come from: catalog, downloads, weights, text towers, saved adapters."""
