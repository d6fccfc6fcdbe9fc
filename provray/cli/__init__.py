"""The `provray` command: one file per subcommand."""

from provray.cli.app import main, run

__all__ = ["main", "run"]
