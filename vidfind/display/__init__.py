"""Everything that is written to the terminal. rich is imported only here and in cli."""
