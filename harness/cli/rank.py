"""``harness rank``: the leaderboard of a folder, with how sure it is and what would change it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import choices
from harness.cli.console import JsonFlag, print_json

EXAMPLES = (
    "Examples: harness rank submissions  ·  harness rank submissions --track compression --what-if team-nine  ·  "
    "harness rank submissions --figures phone.toml --html leaderboard.html"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(rank)


def rank(  # noqa: PLR0913 - the options of the command line
    folder: Annotated[Path, typer.Argument(help="Folder of entries, ours or made elsewhere; or a file of figures.")],
    *,
    track: Annotated[str | None, typer.Option(help="demo, compression or scratch; the entries' if absent.")] = None,
    edition: choices.EditionId = None,
    models: Annotated[
        str | None, typer.Option(help="Base models to average over, comma-separated; the track's if absent.")
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="TOML with the organiser's own figures: the phone's throughput, hold-outs, disqualifications."
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Folder with the checkpoints that bundles reference: they are validated too.")
    ] = None,
    with_broken: Annotated[
        bool, typer.Option("--with-broken", help="Rank entries with broken rules too, for practice.")
    ] = False,
    asked: Annotated[
        list[str] | None, typer.Option("--what-if", help="Entry or team: what would move it. May be repeated.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="File to write this very ranking to, as one page.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show all ranked entries, not only the first ones.")] = False,
    seed: choices.Seed = 0,
    as_json: JsonFlag = False,
) -> None:
    """Rank the entries of a folder by the official rank-sum; places come with intervals, and are shared in doubt."""
    from harness.cli.ranked import print_leaderboard, write_page
    from harness.ranking.building import Asked, build
    from harness.ranking.entries import Choice, read_field

    choice = Choice(
        track=track, edition=edition, models=choices.names(models), weights=weights, with_broken=with_broken
    )
    field = read_field(folder, choice, figures)
    wanted = Asked(track=field.track, models=field.models, seed=seed, what_if=tuple(asked or ()))
    board = build(field.entrants, field.edition, wanted)
    if html is not None:
        write_page(board, folder, html)
    if as_json:
        print_json(board.model_dump(mode="json"))
    else:
        print_leaderboard(board, every=every)
        if html is not None:
            typer.echo(f"\nwritten     {html}")
