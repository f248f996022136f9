"""``harness``: the commands, put together. Nothing here imports torch, and ``--help`` imports no command's engine.

Exit codes: 0 done; 2 usage; 3 a plugin or engine failed; 4 rules broken; 130 interrupted, and resumable.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import click
import typer

from harness.cli import pico, plugins, rules
from harness.errors import HarnessError, Interrupted, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(
    name="harness",
    help="From a base model to a validated entry of the Edge-Device LLM competition, in one command.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(plugins.app, name="plugins")
app.add_typer(rules.app, name="rules")
app.add_typer(pico.app, name="pico")


@app.callback()
def harness(
    version: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    """From a base model to a validated entry of the Edge-Device LLM competition, in one command."""
    if version:
        from harness import __version__

        typer.echo(f"harness {__version__}")
        raise typer.Exit


def run(arguments: Sequence[str]) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    try:
        code = app(list(arguments), standalone_mode=False)
    except HarnessError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show(sys.stderr)
        return UsageError.exit_code
    except (KeyboardInterrupt, click.Abort):
        typer.echo("interrupted: what is done stays done; the same command goes on from there", err=True)
        return Interrupted.exit_code
    return code if isinstance(code, int) else 0
