"""The results of an entry made elsewhere: columns to values, each with its unit and where it was read.

Results.csv ──read_table──> cells ──values──> Value(value, unit, source, assumed) ──doubts──> what is withheld
                              └──────────────────────────────> findings: what was assumed, what is refused
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from harness.validation.foreign.columns import columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.rules.finding import Finding
    from harness.validation.foreign.columns import Quantity
    from harness.validation.foreign.table import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One number of a table, in a unit that is known or said not to be."""

    value: float
    unit: str
    """``percent`` or ``fraction`` of a task; ``bytes``; ``inferences/s``, ``tokens/s``, else ``1/s``."""
    half_step: float
    """Half a unit of the last printed digit, in ``unit``."""
    source: Cell
    """Where it stands, and as what."""
    assumed: tuple[str, ...] = ()
    """What had to be assumed to read it."""

    @property
    def share(self) -> float:
        """Of a task's score: the share of a perfect one, 0 to 1."""
        return self.value / (100 if self.unit == "percent" else 1)

    @property
    def share_half_step(self) -> float:
        """``half_step`` of ``share``."""
        return self.half_step / (100 if self.unit == "percent" else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRow:
    """One row: what it says of one model, or of an entry."""

    line: int
    model: str | None
    """From a column of that name."""
    values: Mapping[Quantity, Value]
    """What could be read."""
    withheld: frozenset[Quantity] = frozenset()
    """What was read and is not believed, so that no ranking may use it; a finding says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignResults:
    """One table of results, normalised where that is certain."""

    file: str
    quantities: tuple[Quantity, ...]
    """Of its columns, in their order, unknown ones left out."""
    rows: tuple[ForeignRow, ...]
    is_one_entry: bool = field(default=True)
    """Whether the rows are one entry: one row, or one for each model."""

    @property
    def model_counts(self) -> tuple[int, ...]:
        """Over how many models a score can be a mean: a table of one row does not say."""
        return (1,) if len(self.rows) > 1 or any(row.model for row in self.rows) else (1, len(BASE_MODELS))

    def values(self) -> dict[Quantity, float]:
        """The entry's own values, in each quantity's unit: the mean over the rows of its models.

        A quantity that one of the rows lacks, or that is withheld, is not there: nothing is filled in.
        """
        if not self.rows or not self.is_one_entry:
            return {}
        return {
            quantity: fmean(row.values[quantity].value for row in self.rows)
            for quantity in columns()
            if all(quantity in row.values and quantity not in row.withheld for row in self.rows)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadResults:
    """A table and what reading it found."""

    results: ForeignResults | None
    findings: tuple[Finding, ...]


BASE_MODELS = ("Phi-2", "Llama-3.1-8B", "Qwen2-7B")
"""Of the compression track: a score of an entry is the mean over them."""
