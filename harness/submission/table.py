"""A Markdown table whose columns line up in plain text too."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """``rows`` under ``header``, each as long as the header, cells escaped and padded."""
    escaped = [[_escape(cell) for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[column]) for row in escaped)) for column in range(len(header))]
    lines = [_line(row, widths) for row in escaped]
    return "\n".join([lines[0], _line(["-" * width for width in widths], widths), *lines[1:]])


def _escape(cell: str) -> str:
    """A cell's text on one line, with no character that ends the cell."""
    return " ".join(cell.split()).replace("\\", "\\\\").replace("|", "\\|")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
