"""Everything that is written to the terminal. rich is imported here alone."""
