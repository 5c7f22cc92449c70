"""`python -m vidfind`."""

from vidfind.cli.app import main

main()
