"""``Results.csv``: one header line, one data line, in the competition's final eight columns.

    CommonsenseQA,BIG-Bench-Hard,GSM8K,HumanEval,CHID,TruthfulQA,Throughput,Memory-Usage
    41.25,33.5,12.0,8.536585,55.1,0.2814,23.097,8573.243

Scores in the edition's scale (TruthfulQA as a fraction, the others in percent), throughput and memory in the units of
the edition's measurement rule. What was not measured is an empty cell, never a zero.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.rules.edition import Edition
    from harness.submission.mean import MeanScores

THROUGHPUT = "Throughput"
MEMORY = "Memory-Usage"
DECIMALS = 6
"""Decimals that are written: enough for a score to stay k/n of any task."""

THROUGHPUT_UNITS = ("decode tokens/s",)
MEMORY_UNIT_BYTES = {
    "MB (10**6 bytes)": 10**6,
    "GB (10**9 bytes)": 10**9,
    "MiB (2**20 bytes)": 2**20,
    "GiB (2**30 bytes)": 2**30,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsTable:
    """A results file as it stands: text, not yet judged."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def render(mean: MeanScores, edition: Edition) -> str:
    """The text of ``Results.csv``.

    Raises:
        UsageError: the edition states a unit that is not known.
    """
    values = column_values(mean, edition)
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(edition.csv_columns)
    writer.writerow([cell(values.get(column)) for column in edition.csv_columns])
    return stream.getvalue()


def column_values(mean: MeanScores, edition: Edition) -> dict[str, float]:
    """The value of every column that has one, in the units of the file."""
    values = {task.column: task.score for task in mean.tasks}
    if mean.decode_tokens_per_s is not None:
        values[THROUGHPUT] = mean.decode_tokens_per_s * _throughput_scale(edition)
    if mean.peak_memory_bytes is not None:
        values[MEMORY] = mean.peak_memory_bytes / _memory_unit_bytes(edition)
    return values


def cell(value: float | None) -> str:
    """One number as it is written; empty for none."""
    return "" if value is None else repr(round(float(value), DECIMALS))


def parse(text: str) -> ResultsTable:
    """The table in ``text``, cells stripped, blank lines dropped, empty cells kept; nothing is judged.

    Raises:
        csv.Error: a field is longer than the csv module reads.
    """
    lines = [tuple(field.strip() for field in line) for line in csv.reader(io.StringIO(text, newline=""))]
    filled = [line for line in lines if len(line) > 1 or any(line)]
    return ResultsTable(columns=filled[0] if filled else (), rows=tuple(filled[1:]))


def _throughput_scale(edition: Edition) -> float:
    unit = edition.measurement.throughput_unit
    if unit not in THROUGHPUT_UNITS:
        raise UsageError(_unknown_unit(edition, "throughput_unit", unit, THROUGHPUT_UNITS))
    return 1.0


def _memory_unit_bytes(edition: Edition) -> int:
    unit = edition.measurement.memory_unit
    if unit not in MEMORY_UNIT_BYTES:
        raise UsageError(_unknown_unit(edition, "memory_unit", unit, tuple(MEMORY_UNIT_BYTES)))
    return MEMORY_UNIT_BYTES[unit]


def _unknown_unit(edition: Edition, field: str, found: str, allowed: tuple[str, ...]) -> str:
    return f"edition {edition.id}: measurement.{field}: allowed {', '.join(allowed)}, found {found!r}"
