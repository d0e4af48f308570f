"""The command line: what commands there are, and how each of them ends."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from riskscale import __version__
from riskscale.cli import breakers, demo, doctor, functions, generate, limits, locks, replay, scripts
from riskscale.cli.errors import BROKEN_PIPE, INTERRUPTED, USAGE, explain

app = typer.Typer(
    help="Locks, rate limits and circuit breakers that replicas share through Redis or Valkey.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("replay")(replay.command)
app.command("demo")(demo.command)
app.add_typer(breakers.app, name="breakers")
app.add_typer(functions.app, name="functions")
app.command("generate")(generate.command)
app.add_typer(limits.app, name="limits")
app.add_typer(locks.app, name="locks")
app.add_typer(scripts.app, name="scripts")
app.command("doctor")(doctor.command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"riskscale {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: list[str]) -> int:
    """Run the command; its exit code. Errors of the user, the server and the input are one line on stderr."""
    logging.getLogger("riskscale").addHandler(logging.NullHandler())  # what matters is in the result
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a log may hold what the terminal's encoding does not
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(arguments, prog_name="riskscale", standalone_mode=False) or 0
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # typer exits by itself when a pipe breaks, and only then
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return BROKEN_PIPE
    except (KeyboardInterrupt, typer.Abort):  # older releases of typer turn the one into the other
        code = INTERRUPTED
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        print(f"riskscale: {line}", file=sys.stderr)
        return USAGE
    if code == INTERRUPTED:
        print("riskscale: interrupted", file=sys.stderr)
    return int(code)
