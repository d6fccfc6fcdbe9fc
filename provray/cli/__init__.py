"""The `provray` command: one file per subcommand."""

from provray.cli.app import main

__all__ = ["main"]
