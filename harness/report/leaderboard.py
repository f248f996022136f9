"""``leaderboard.html``: a ranking as one page, sortable, every row with a link to its bundle's own page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from harness.report import board_plots, figures
from harness.report.template import render
from harness.rules.finding import Severity
from harness.submission import layout

if TYPE_CHECKING:
    from pathlib import Path

    from harness.ranking.leaderboard import Cell, ColumnRecord, Leaderboard, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class CellView:
    """One cell of the table, ready to be shown."""

    value: str
    """What the column is sorted by; empty where there is nothing."""
    shown: str
    interval: str
    points: str
    at_chance: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RowView:
    """One ranked entry, ready to be shown."""

    row: Row
    shared: bool
    """Whether another entry has the same place."""
    places: str
    link: str | None
    cells: tuple[CellView, ...]
    errors: int
    warnings: int


def leaderboard_page(board: Leaderboard, folder: Path, at: Path) -> str:
    """The page of ``board``.

    Args:
        board: what was ranked.
        folder: of the entries, where links lead to a page that is there.
        at: folder that the page will stand in; links are relative to it.
    """
    pages = _pages(folder)
    shared = [row.shared_place for row in board.rows]
    rows = tuple(
        _row(board, row, shared.count(row.shared_place) > 1, _link(pages, row.entry, at)) for row in board.rows
    )
    charts = board_plots.charts_of(board)
    return render("leaderboard.html", {"board": board, "rows": rows, "charts": charts})


def _pages(folder: Path) -> dict[str, Path]:
    """The page of every bundle below ``folder`` that has one, by the bundle's name."""
    return {path.parent.name: path for path in sorted(folder.rglob(layout.REPORT)) if path.is_file()}


def _link(pages: dict[str, Path], entry: str, at: Path) -> str | None:
    if entry not in pages:
        return None
    relative = os.path.relpath(pages[entry], at).replace(os.sep, "/")
    # A name must not be taken for a scheme: "./" says that it is a place.
    return quote(relative if relative.startswith("../") else f"./{relative}")


def _row(board: Leaderboard, row: Row, shared: bool, link: str | None) -> RowView:
    cells = {cell.column: cell for cell in row.cells}
    low, high = row.place_low, row.place_high
    return RowView(
        row=row,
        shared=shared,
        places=f"{low}" if low == high else f"{low} to {high}",
        link=link,
        cells=tuple(_cell(cells.get(column.name), column) for column in board.columns),
        errors=sum(finding.severity is Severity.ERROR for finding in row.findings),
        warnings=sum(finding.severity is Severity.WARNING for finding in row.findings),
    )


def _cell(cell: Cell | None, column: ColumnRecord) -> CellView:
    if cell is None or cell.number is None:
        return CellView(value="", shown=figures.ABSENT, interval="", points="", at_chance=False)
    return CellView(
        value=repr(cell.number.value),
        shown=figures.number(cell.number.value),
        interval=figures.interval(cell.low, cell.high),
        points=f"{cell.points:g}" if column.weight else "",
        at_chance=cell.at_chance,
    )
