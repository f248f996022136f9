"""The figures of docs/results/leaderboard.md: the strategies' bundles of a folder ranked against each other.

    python bench/leaderboard.py submissions [--track demo] [--out docs/results/leaderboard.md]
                                [--picture docs/images/leaderboard-demo.png] [--page submissions/leaderboard.html]

The bundles of one workshop bear one team's name, and of a team the rules rank one entry: here every strategy is a team
of its own. Otherwise the ranking is that of ``harness rank``, with its intervals, its warnings and its page.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from page_picture import take

from harness.document import write_atomically
from harness.ranking.building import Asked, build
from harness.ranking.entries import Choice, read_field
from harness.report import figures
from harness.report.leaderboard import leaderboard_page
from harness.submission.table import markdown_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.ranking.leaderboard import Cell, Leaderboard, Row

PICTURE_SIZE = (1280, 1500)


def ranked(folder: Path, track: str | None, models: tuple[str, ...], seed: int) -> Leaderboard:
    """The bundles in ``folder``, each strategy a team."""
    field = read_field(folder, Choice(track=track, edition=None, models=models, weights=None, with_broken=False))
    entrants = tuple(replace(one, team=one.plugin or one.team) for one in field.entrants)
    return build(entrants, field.edition, Asked(track=field.track, models=field.models, seed=seed, what_if=()))


def document(board: Leaderboard, command: str, picture: str | None) -> str:
    """The page for the docs."""
    return "\n".join([*_lines(board, command, picture), ""])


def _lines(board: Leaderboard, command: str, picture: str | None) -> Iterator[str]:
    yield f"# Leaderboard: {board.track}"
    yield f"\nMade by `{command}`; every strategy is a team of its own, else as `harness rank` ranks."
    yield (
        f"\nEdition {board.edition.id} {board.edition.version}, means over {', '.join(board.models)}, "
        f"seed {board.seed}, {board.replicates:,} replicates. {board.notice}".rstrip()
    )
    if picture is not None:
        yield f"\n![The leaderboard as a page]({picture})"
    yield "\n" + markdown_table(
        ("place", "95 %", "shared", "strategy", "points", "95 %", "peak MB", "parameters", "entry"),
        [_row(row) for row in board.rows],
    )
    yield "\nScores with their 95 % intervals over the items, and the points that they get; `~`: guessing reaches it."
    headings = [f"{column.heading}{'' if column.weight else ' (not ranked)'}" for column in board.columns]
    yield "\n" + markdown_table(("strategy", *headings), [(row.team, *map(_cell, row.cells)) for row in board.rows])
    for pair in board.pairs:
        first, second = _team(board, pair.first), _team(board, pair.second)
        yield f"\n- {first} has more points than {second} in {pair.first_beats:.1%} of the replicates"
    for barred in board.barred:
        yield f"\n- not ranked: {barred.entry}: {barred.reason}"
    for warning in board.warnings:
        yield f"\n- {warning}"
    for protocol in dict.fromkeys(row.protocol for row in board.rows if row.protocol):
        yield f"\n- throughput and memory: {protocol}"


def _row(row: Row) -> tuple[str, ...]:
    peak, count = row.peak_memory, row.parameters
    return (
        str(row.place),
        f"{row.place_low} to {row.place_high}",
        str(row.shared_place),
        row.team,
        f"{row.total:g}",
        f"{row.total_low:g} to {row.total_high:g}",
        figures.ABSENT if peak is None else f"{peak.value / 1e6:.0f}",
        figures.ABSENT if count is None else f"{count.value:,.0f}",
        row.entry,
    )


def _cell(cell: Cell) -> str:
    if cell.number is None:
        return figures.ABSENT
    interval = figures.interval(cell.low, cell.high)
    chance = "~" if cell.at_chance else ""
    return f"{figures.number(cell.number.value)}{chance}{f' ({interval})' if interval else ''}, {cell.points:g} p"


def _team(board: Leaderboard, entry: str) -> str:
    return next(row.team for row in board.rows if row.entry == entry)


def main() -> None:
    """Rank, write the page, take its picture, write the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--track", default=None)
    parser.add_argument("--models", default="", help="comma-separated; those that all entries have if absent")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, default=None, help="leaderboard.html in the folder if absent")
    parser.add_argument("--picture", type=Path, default=Path("docs/images/leaderboard-demo.png"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/leaderboard.md"))
    typed = parser.parse_args()
    models = tuple(name for name in typed.models.split(",") if name)
    board = ranked(typed.folder, typed.track, models, typed.seed)
    page = typed.page or typed.folder / "leaderboard.html"
    write_atomically(page, leaderboard_page(board, typed.folder, page.parent).encode())
    has_picture = take(page, typed.picture, scheme="light", size=PICTURE_SIZE)
    shown = Path(os.path.relpath(typed.picture, typed.out.parent)).as_posix() if has_picture else None
    command = f"python bench/leaderboard.py {typed.folder.as_posix()} --track {board.track} --seed {typed.seed}"
    write_atomically(typed.out, document(board, command, shown).encode())
    print(f"{len(board.rows)} ranked, {len(board.barred)} not: {page}, {typed.out}")


if __name__ == "__main__":
    main()
