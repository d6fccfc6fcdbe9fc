"""The command line as a whole: its subcommands, and how errors become exit codes.

0: an answer (also `none`). 2: bad use or bad input. 1: a failure of ours.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import Annotated, NoReturn

import typer

import provray
from provray.cli import (
    compact,
    crawl,
    demo,
    eval,
    keys,
    lineage,
    probes,
    query,
    serve,
    show,
    steal_bench,
    verify,
    zoo,
)
from provray.cli.console import err, fail

app = typer.Typer(
    name="provray",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="**Which indexed model is this one's ancestor?**\n\n"
    "provray fingerprints models by their weights and by how they behave on fixed probes, keeps the "
    "fingerprints in an index, and compares a model against all of them. It never runs code that comes "
    "with a model.\n\n"
    "Start with `provray demo`, or: `provray crawl models/ --index my-index`, then "
    "`provray query suspect/ --index my-index`.",
)
app.add_typer(probes.app, name="probes")
app.add_typer(zoo.app, name="zoo")
app.add_typer(keys.app, name="keys")
app.command("crawl")(crawl.crawl_command)
app.command("query")(query.query_command)
app.command("lineage")(lineage.lineage_command)
app.command("show")(show.show_command)
app.command("serve")(serve.serve_command)
app.command("verify")(verify.verify_command)
app.command("compact")(compact.compact_command)
app.command("demo")(demo.demo_command)
app.command("eval")(eval.eval_command)
app.command("steal-bench")(steal_bench.steal_bench_command)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"provray {provray.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass  # what the options do is in their callbacks


def run() -> NoReturn:
    """The `provray` command as a process: `main`, and then the end without the interpreter's own last step.

    In that step a library's thread that still wants the interpreter (pyarrow's and deltalake's do, for a moment after
    they have answered) aborts the process: code 134 below a complete answer. Everything before it is done:
    threads are waited for, exit handlers run, what was printed is written out.
    """
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    # The two calls are those of CPython's own end, in its order; they have no public name.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError as error:
        code = 1
        if not isinstance(error, BrokenPipeError):  # a reader that has gone wants to hear nothing
            err.print("[bold red]error[/]: the answer could not be written:", error, soft_wrap=True)
    os._exit(code)


def main() -> None:
    """What the `provray` command does; ends in `SystemExit` where it has an exit code to give."""
    try:
        app()
    except (ValueError, FileNotFoundError) as error:
        # Every error class of bad input derives from ValueError and says what to do.
        fail(str(error), code=2)
    except KeyboardInterrupt:
        fail(
            "interrupted; what was finished is in the index, run the same command to go on", code=1
        )
    except Exception as error:
        if os.environ.get("PROVRAY_DEBUG"):
            raise
        fail(f"{type(error).__name__}: {error} (set PROVRAY_DEBUG=1 for the traceback)", code=1)
