"""`python -m provray`."""

from provray.cli import main

main()
