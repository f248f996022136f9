"""``harness schemas``: the JSON Schemas of what people write and runs leave behind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.console import JsonFlag, print_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(schemas)


def schemas(
    out: Annotated[Path, typer.Option(help="Folder to write them to.")] = Path("schemas"),
    as_json: JsonFlag = False,
) -> None:
    """Write the JSON Schemas of editions, recipes, results, ledgers, lock files and submissions."""
    from harness.submission.schemas import write_schemas

    written = [str(path) for path in write_schemas(out)]
    if as_json:
        print_json(list(written))
    else:
        typer.echo("\n".join(written))
