"""`python -m vidfind`."""

from vidfind.cli import main

main()
