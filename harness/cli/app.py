"""``harness``: the commands, put together. Nothing here imports torch, and ``--help`` imports no command's engine.

Exit codes: 0 done; 2 usage; 3 a plugin or engine failed; 4 rules broken; 130 interrupted, and resumable.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from harness.cli import (
    compare,
    deploy,
    devices,
    doctor,
    evaluate,
    explain,
    measure,
    pico,
    plan,
    plugins,
    rank,
    replay,
    report,
    rules,
    schemas,
    show,
    sign,
    submit,
    toolchain,
    validate,
)
from harness.errors import HarnessError, Interrupted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

app = typer.Typer(
    name="harness",
    help="From a base model to a validated entry of the Edge-Device LLM competition, in one command.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
submit.register(app)
evaluate.register(app)
show.register(app)
plan.register(app)
validate.register(app)
rank.register(app)
compare.register(app)
report.register(app)
replay.register(app)
deploy.register(app)
measure.register(app)
devices.register(app)
doctor.register(app)
explain.register(app)
sign.register(app)
app.add_typer(plugins.app, name="plugins")
app.add_typer(rules.app, name="rules")
app.add_typer(toolchain.app, name="toolchain")
app.add_typer(pico.app, name="pico")
schemas.register(app)


def _print_version(asked: bool) -> None:
    if asked:
        from harness import __version__

        typer.echo(f"harness {__version__}")
        raise typer.Exit


@app.callback()
def harness(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """From a base model to a validated entry of the Edge-Device LLM competition, in one command."""


def run(arguments: Sequence[str]) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    signal.signal(signal.SIGINT, _interrupt)
    try:
        app(list(arguments))
    except HarnessError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        return error.exit_code
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 0
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted("what is done stays done; the same command goes on from there")
