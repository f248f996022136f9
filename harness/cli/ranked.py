"""A leaderboard for the terminal: places and points, who is not ranked and why, what to be wary of, what would move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from harness.cli.console import print_table
from harness.cli.reading import plain
from harness.rules.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.ranking.leaderboard import Cell, Leaderboard, Row
    from harness.ranking.what_if import Change, WhatIf
    from harness.rules.finding import Finding

ABSENT = "-"
AT_CHANCE = "~"
LEGEND = (
    f"a score and its points; {AT_CHANCE} guessing reaches it. 95 %: where the place lies. shared: 1 + how many "
    "entries are surely better"
)


def print_leaderboard(board: Leaderboard, *, every: bool) -> None:
    """Print ``board``: the rows that the edition shows, or all of them."""
    rows = board.rows if every else board.rows[: board.shown]
    typer.echo(
        f"{board.edition.id} {board.edition.version}   track {board.track}   mean over {', '.join(board.models)}   "
        f"{len(board.rows)} ranked, {len(board.barred)} not   seed {board.seed}"
    )
    if board.notice:
        typer.secho(plain(board.notice), fg="yellow")
    typer.echo()
    _print_rows(board, rows)
    if len(rows) < len(board.rows):
        typer.echo(f"… {len(board.rows) - len(rows)} more; --all shows them")
    typer.echo(f"\n{LEGEND}")
    if board.barred:
        typer.echo("\nnot ranked")
        print_table(
            ("entry", "team", "why"), [(plain(one.entry), plain(one.team), plain(one.reason)) for one in board.barred]
        )
    _print_hinges(board)
    for one in board.what_if:
        _print_what_if(one)
    for warning in board.warnings:
        typer.secho(f"\n! {plain(warning)}", fg="yellow")


def write_page(board: Leaderboard, folder: Path, file: Path) -> None:
    """Write ``board`` to ``file`` as one page, whose links lead to the pages of the entries in ``folder``.

    Raises:
        UsageError: ``file`` is a folder.
    """
    from harness.document import write_atomically
    from harness.errors import UsageError
    from harness.report.leaderboard import leaderboard_page

    if file.is_dir():
        raise UsageError(f"{file}: expected a file to write the page to, found a folder; name a file in it")
    write_atomically(file, leaderboard_page(board, folder, file.parent).encode())


def _print_rows(board: Leaderboard, rows: Sequence[Row]) -> None:
    columns = [column.heading for column in board.columns]
    header = ("place", "95 %", "shared", "entry", "team", "points", *columns, "peak GB", "parameters", "findings")
    print_table(header, [_row(row) for row in rows])


def _row(row: Row) -> tuple[str, ...]:
    peak, parameters = row.peak_memory, row.parameters
    return (
        str(row.place),
        f"{row.place_low}-{row.place_high}",
        str(row.shared_place),
        plain(row.entry),
        plain(row.team),
        f"{row.total:g}",
        *(_cell(cell) for cell in row.cells),
        ABSENT if peak is None else f"{peak.value / 1e9:.2f}",
        ABSENT if parameters is None else f"{parameters.value:,.0f}",
        _findings(row.findings),
    )


def _cell(cell: Cell) -> str:
    if cell.number is None:
        return ABSENT
    return f"{cell.number.value:.4g}{AT_CHANCE if cell.at_chance else ''} ({cell.points:g})"


def _findings(findings: Sequence[Finding]) -> str:
    counts = [sum(one.severity is severity for one in findings) for severity in (Severity.ERROR, Severity.WARNING)]
    parts = [f"{count} {name}" for count, name in zip(counts, ("errors", "warnings"), strict=True) if count]
    return ", ".join(parts) or "none"


def _print_hinges(board: Leaderboard) -> None:
    """What the order hangs on."""
    if board.pairs:
        typer.echo("\nshare of the replicates in which an entry has more points than the next one")
    for pair in board.pairs:
        typer.echo(f"  {plain(pair.first)}, {plain(pair.second)}: {pair.first_beats:.0%}")
    if board.one_item:
        typer.echo(f"\none answer would move   ({len(board.one_item)})")
        for one in board.one_item[: board.shown]:
            answer = "one right answer more" if one.change > 0 else "one right answer fewer"
            typer.echo(f"  {plain(one.entry)}: {answer} on {one.column}: place {one.place} -> {one.place_then}")
    if board.ties:
        moved = ", ".join(f"{plain(one.entry)} ({one.rule}: {one.place} -> {one.place_then})" for one in board.ties)
        typer.echo(f"\nanother rule for ties would move   {moved}")


def _print_what_if(one: WhatIf) -> None:
    where = f"place {one.place}, {one.total:g} points" if one.place is not None else f"not ranked: {one.barred}"
    typer.secho(f"\nwhat if   {plain(one.entry)} ({plain(one.team)})   {where}", bold=True)
    header = ("change", "from", "to", "points", "place")
    if one.steps:
        print_table(header, [_change(change) for change in one.steps])
    if one.least:
        typer.echo("\nthe least that gains a place, by column")
        print_table(header, [_change(change) for change in one.least])
    elif one.place is not None and one.place > 1:
        typer.echo("no change of a single column gains a place")


def _change(change: Change) -> tuple[str, ...]:
    def text(value: float | None) -> str:
        if value is None:
            return ABSENT
        return f"{value / 1e9:.3f} GB" if change.unit == "bytes" else f"{value:.6g}"

    def place(value: int | None) -> str:
        return "none" if value is None else str(value)

    return (
        change.column,
        text(change.value),
        text(change.value_then),
        f"{change.points:g} -> {change.points_then:g}",
        f"{place(change.place)} -> {place(change.place_then)}",
    )
