"""``harness validate``: every rule on an entry, every violation located."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import choices
from harness.cli.console import JsonFlag, print_json

if TYPE_CHECKING:
    from harness.validation.report import Report

BROKEN = 4
"""Exit code where a rule is broken."""


class Format(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(validate)


def validate(  # noqa: PLR0913, PLR0917 - the options of the command line
    paths: Annotated[list[Path], typer.Argument(help="Bundles, or entries made elsewhere.")],
    edition: choices.EditionId = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Folder with the checkpoints that the bundle references; the workspace's if absent."),
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="How to print the findings.")] = Format.TEXT,
    strict: Annotated[bool, typer.Option("--strict", help="Count warnings as errors.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check entries against the rules; exit code 4 if one of them is broken."""
    from harness.rules.edition import load_edition
    from harness.validation import render
    from harness.validation.batch import validate_all

    here = choices.workspace_here().root / "steps"
    weights = weights or (here if here.is_dir() else None)
    rules = None if edition is None else load_edition(edition)
    found = validate_all(paths, rules, weights=weights)
    reports = [(path.as_posix(), report) for path, report in zip(paths, found, strict=True)]
    if strict:
        reports = [(path, render.strict(report)) for path, report in reports]
    _print(reports, Format.JSON if as_json else output)
    if any(report.has_errors for _, report in reports):
        raise typer.Exit(BROKEN)


def _print(reports: list[tuple[str, Report]], output: Format) -> None:
    if output is Format.JSON:
        print_json([report.model_dump(mode="json") for _, report in reports])
    elif output is Format.SARIF:
        from harness.validation.sarif import sarif

        typer.echo(json.dumps(sarif(reports), indent=2, ensure_ascii=False))
    elif output is Format.JUNIT:
        from harness.validation.junit import junit

        typer.echo(junit(reports), nl=False)
    else:
        _print_text([report for _, report in reports])


def _print_text(reports: list[Report]) -> None:
    from harness.validation.render import render_text, summary_table

    blocks = [render_text(report) for report in reports]
    if len(reports) > 1:
        blocks.insert(0, summary_table(reports) + "\n")
    typer.echo("\n\n".join(blocks))
