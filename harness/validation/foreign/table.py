"""A stranger's table of results as text in cells, each with its line and column; nothing is judged yet.

comma, tab, semicolon   a header line and rows
an OpenCompass summary  one line a metric, one column a model: turned round, cells keep their own places
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from harness.validation.foreign.cells import readings
from harness.validation.foreign.columns import columns, match

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_ROWS: Final = 1_000
MAX_COLUMNS: Final = 200
MAX_CHARACTERS: Final = 10_000
"""Of one cell."""
SUBSET_PREFIX: Final = "bbh-"
SUBSET_COUNT: Final = 27
SUMMARY_COLUMNS: Final = ("dataset", "version", "metric", "mode")
Form = Literal["comma", "tab", "semicolon", "summary"]

_DELIMITERS: Final[dict[str, Form]] = {",": "comma", "\t": "tab", ";": "semicolon"}


class NoTable(Exception):
    """The text is no table; the message says why. Becomes a finding, never leaves ``foreign``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell where it stands."""

    text: str
    line: int
    """From 1."""
    column: int
    """From 1, counted in cells."""

    @property
    def field(self) -> str:
        """How findings call the place."""
        return f"line {self.line}, column {self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A heading and rows, as they were written."""

    form: Form
    heading: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]
    recomputed: tuple[tuple[Cell, float], ...] = ()
    """A summary's averages over subsets, as stated and as they recompute."""


def read_table(text: str) -> Table:
    """The table in ``text``; without heading and rows where there are none.

    Raises:
        NoTable: it has too many rows, columns or characters in a cell, or a quote that never ends.
    """
    summary = _summary_lines(text)
    if summary is not None:
        return _turned(summary)
    delimiter = _delimiter(text)
    lines = _cells(text, delimiter)
    filled = [line for line in lines if any(cell.text for cell in line)]
    heading, rows = (filled[0], filled[1:]) if filled else ((), [])
    return Table(form=_DELIMITERS[delimiter], heading=_stripped(heading), rows=tuple(rows))


def _stripped(heading: Sequence[Cell]) -> tuple[Cell, ...]:
    """The heading without empty cells at its end, as spreadsheets write them."""
    last = max((number for number, cell in enumerate(heading) if cell.text), default=-1)
    return tuple(heading[: last + 1])


def _delimiter(text: str) -> str:
    """The mark that parts the first filled line into most known headings; a comma where none does."""
    first = next((line for line in text.splitlines() if line.strip()), "")[:MAX_CHARACTERS]
    return max(_DELIMITERS, key=lambda mark: sum(match(part.strip(' "')) is not None for part in first.split(mark)))


def _cells(text: str, delimiter: str, first_line: int = 1) -> list[tuple[Cell, ...]]:
    """Every line of ``text``, cells stripped."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines: list[tuple[Cell, ...]] = []
    start = first_line
    try:
        for fields in reader:
            _check_size(len(lines), fields)
            lines.append(
                tuple(Cell(text=part.strip(), line=start, column=at) for at, part in enumerate(fields, start=1))
            )
            start = first_line + reader.line_num
    except csv.Error as error:
        raise NoTable(f"line {start}: {error}") from error
    return lines


def _check_size(rows: int, fields: Sequence[str]) -> None:
    if rows > MAX_ROWS or len(fields) > MAX_COLUMNS or any(len(part) > MAX_CHARACTERS for part in fields):
        raise NoTable(f"more than {MAX_ROWS} rows, {MAX_COLUMNS} columns or {MAX_CHARACTERS} characters in a cell")


def _summary_lines(text: str) -> list[tuple[Cell, ...]] | None:
    """The comma-separated block of an OpenCompass summary, its heading first; None where there is none."""
    lines = text.splitlines()
    mark = ",".join(SUMMARY_COLUMNS)
    start = next((number for number, line in enumerate(lines) if line.lstrip("\ufeff").startswith(mark)), None)
    if start is None:
        return None
    width = lines[start].count(",")
    block = [lines[start].lstrip("\ufeff")]
    for line in lines[start + 1 : start + 1 + MAX_ROWS]:
        if line.count(",") != width:
            break
        block.append(line)
    return _cells("\n".join(block), ",", first_line=start + 1)


def _turned(lines: Sequence[tuple[Cell, ...]]) -> Table:
    """One row a model, one column a task; cells keep the place that they had."""
    models = lines[0][len(SUMMARY_COLUMNS) :]
    by_metric = {_metric(line): line for line in lines[1:] if len(line) == len(lines[0])}
    mean = _mean_of_subsets(by_metric)
    stated = _line_of(columns()["bbh"].metrics, by_metric)
    if stated is None and mean is not None:
        by_metric[columns()["bbh"].metrics[0]] = mean
    chosen = [(column.heading, _line_of(column.metrics, by_metric)) for column in columns().values() if column.is_task]
    present = [(heading, line) for heading, line in chosen if line is not None]
    first = len(SUMMARY_COLUMNS)
    return Table(
        form="summary",
        heading=(
            Cell(text=columns()["model"].heading, line=lines[0][0].line, column=1),
            *(Cell(text=name, line=line[0].line, column=1) for name, line in present),
        ),
        rows=tuple((model, *(line[at] for _, line in present)) for at, model in enumerate(models, start=first))
        if present
        else (),
        recomputed=tuple((cell, float(found.text)) for cell, found in zip(stated, mean, strict=True) if found.text)
        if stated and mean
        else (),
    )


def _mean_of_subsets(lines: dict[str, tuple[Cell, ...]]) -> tuple[Cell, ...] | None:
    """The mean of BBH's subsets as a line of the summary; None where they are not all there."""
    subsets = [line for metric, line in lines.items() if metric.startswith(SUBSET_PREFIX)]
    if len(subsets) != SUBSET_COUNT:
        return None
    first = subsets[0]
    means = (_mean([line[at].text for line in subsets]) for at in range(len(SUMMARY_COLUMNS), len(first)))
    blank = tuple(Cell(text="", line=cell.line, column=cell.column) for cell in first[: len(SUMMARY_COLUMNS)])
    return (
        *blank,
        *(
            Cell(text=text, line=cell.line, column=cell.column)
            for text, cell in zip(means, first[len(blank) :], strict=True)
        ),
    )


def _mean(texts: Sequence[str]) -> str:
    """Of numbers with two decimals; empty where one is none."""
    found = [one.value for text in texts for one in readings(text)]
    return f"{sum(found) / len(found):.4f}" if len(found) == len(texts) else ""


def _metric(line: Sequence[Cell]) -> str:
    return f"{line[0].text} {line[2].text}".casefold()


def _line_of(metrics: Sequence[str], lines: dict[str, tuple[Cell, ...]]) -> tuple[Cell, ...] | None:
    return next((lines[metric] for metric in metrics if metric in lines), None)
