"""`python -m provray`."""

from provray.cli import run

run()
