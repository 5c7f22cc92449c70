"""The commands: each parses its options, calls one pipeline and shows what comes back."""
