"""``harness doctor``: what this machine can and cannot do."""

from __future__ import annotations

import typer

from harness.cli import choices
from harness.cli.console import JsonFlag, print_json, print_table

LACKING = 3
"""Exit code where something that the demo needs is missing."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(as_json: JsonFlag = False) -> None:
    """Look at this machine: each line is ok, or missing with the way out; exit code 3 if the demo lacks something."""
    from harness.judge.doctor import examine

    lines = examine(choices.workspace_here().root)
    if as_json:
        print_json([line.model_dump(mode="json") for line in lines])
    else:
        states = {("ok", True): "ok", ("ok", False): "ok", ("missing", True): "MISSING", ("missing", False): "missing"}
        rows = [(line.name, states[line.state, line.needed], line.found, line.way_out) for line in lines]
        print_table(("", "state", "found", "way out"), rows)
    if any(line.state == "missing" and line.needed for line in lines):
        raise typer.Exit(LACKING)
