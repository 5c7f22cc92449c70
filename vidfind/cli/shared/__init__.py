"""Parts that several commands share: options, completion, the prompt, the screen of a run."""
