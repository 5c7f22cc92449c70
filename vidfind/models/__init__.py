"""Where CLIP models and adapters come from: catalog, downloads, weights, saved adapters."""
