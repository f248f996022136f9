"""``harness validate``: every rule on a bundle, every violation located."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import choices
from harness.cli.console import JsonFlag, print_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(validate)


def validate(
    paths: Annotated[list[Path], typer.Argument(help="Bundles.")],
    edition: choices.EditionId = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Folder with the checkpoints that the bundle references; the workspace's if absent."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check bundles against the rules; exit code 4 if one of them is broken."""
    from harness.rules.edition import load_edition
    from harness.validation.render import render_text
    from harness.validation.run import validate as check

    here = choices.workspace_here().root / "steps"
    weights = weights or (here if here.is_dir() else None)
    rules = None if edition is None else load_edition(edition)
    reports = [check(path, rules, weights=weights) for path in paths]
    if as_json:
        print_json([report.model_dump(mode="json") for report in reports])
    else:
        typer.echo("\n\n".join(render_text(report) for report in reports))
    if any(report.has_errors for report in reports):
        raise typer.Exit(4)
