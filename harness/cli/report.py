"""``harness report``: an entry, or a folder of entries, as one page for a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import choices
from harness.cli.console import JsonFlag, print_json

EXAMPLES = (
    "Examples: harness report submissions/demo/ENTRY  ·  harness report submissions/demo/ENTRY --out entry.html  ·  "
    "harness report submissions --track demo --out leaderboard.html"
)
LEADERBOARD = "leaderboard.html"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(report)


def report(  # noqa: PLR0913 - the options of the command line
    path: Annotated[Path, typer.Argument(help="A bundle, or a folder of entries.")],
    *,
    out: Annotated[
        Path | None, typer.Option(help="File to write; report.html in the bundle or leaderboard.html in the folder.")
    ] = None,
    edition: choices.EditionId = None,
    weights: Annotated[
        Path | None, typer.Option(help="Folder with the checkpoints that bundles reference: they are validated too.")
    ] = None,
    track: Annotated[str | None, typer.Option(help="Of a leaderboard; the entries' own if absent.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the page of an entry, or the leaderboard of a folder: one file that loads nothing from anywhere."""
    from harness.submission import layout

    is_bundle = (path / layout.SUBMISSION).is_file()
    written = (
        _write_report(path, out, edition, weights)
        if is_bundle
        else _write_leaderboard(path, out, edition, weights, track)
    )
    if as_json:
        kind = "report" if is_bundle else "leaderboard"
        print_json({"page": str(written), "kind": kind, "size_bytes": written.stat().st_size})
    else:
        typer.echo(f"written     {written}")


def _write_report(bundle: Path, out: Path | None, edition: str | None, weights: Path | None) -> Path:
    from harness.document import write_atomically
    from harness.report.page import report_page, write_report
    from harness.rules.edition import load_edition
    from harness.validation.run import validate

    here = choices.workspace_here().root / "steps"
    weights = weights or (here if here.is_dir() else None)
    validation = validate(bundle, None if edition is None else load_edition(edition), weights=weights)
    if out is None:
        return write_report(bundle, validation)
    write_atomically(out, report_page(bundle, validation).encode())
    return out


def _write_leaderboard(
    folder: Path, out: Path | None, edition: str | None, weights: Path | None, track: str | None
) -> Path:
    from harness.cli.ranked import write_page
    from harness.ranking.building import Asked, build
    from harness.ranking.entries import Choice, read_field

    written = out or folder / LEADERBOARD
    choice = Choice(track=track, edition=edition, models=(), weights=weights, with_broken=False)
    field = read_field(folder, choice, None)
    board = build(field.entrants, field.edition, Asked(track=field.track, models=field.models, seed=0, what_if=()))
    write_page(board, folder, written)
    return written
