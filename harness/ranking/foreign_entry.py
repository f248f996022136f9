"""An entry made elsewhere as an entrant: what its table of results says for certain, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.ranking.entrant import Entrant, Number, Source
from harness.rules.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.rules.edition import Edition
    from harness.rules.finding import Finding
    from harness.validation.entry import Entry
    from harness.validation.foreign.columns import Quantity
    from harness.validation.foreign.results import ForeignResults

EXCUSED: Final = frozenset(("foreign", "scores"))
"""Families whose errors doubt a cell of the table: what they doubt is withheld, and the rest takes part."""
UNITS: Final = {"decode tokens/s": "tokens/s"}
"""The edition's unit of throughput, and what a table calls it."""


def entrant_of(entry: Entry, edition: Edition, findings: tuple[Finding, ...]) -> Entrant:
    """The entrant that ``entry`` is; without a table that can be read, or with several, it is barred."""
    plain = Entrant(name=entry.name, team=entry.name, kind=entry.kind.value, findings=findings)
    tables = [table for table in entry.tables if table.values()]
    if len(tables) != 1:
        found = ", ".join(table.file for table in tables) or "none that can be read"
        return plain.but(f"one table of results is needed; it has {found}")
    return _tabled(plain, tables[0], edition)


def broken(findings: Sequence[Finding]) -> list[Finding]:
    """The errors that bar an entry made elsewhere."""
    return [one for one in findings if one.severity is Severity.ERROR and one.rule.partition(".")[0] not in EXCUSED]


def doubted(findings: Sequence[Finding]) -> frozenset[tuple[str, str | None]]:
    """The cells, by file and place, that an error of the excused families is about."""
    errors = (one for one in findings if one.severity is Severity.ERROR and one.rule.partition(".")[0] in EXCUSED)
    return frozenset((one.place.file, one.place.field) for one in errors)


def _withheld(table: ForeignResults, edition: Edition, scores: Mapping[str, Number]) -> tuple[str, ...]:
    named = [rule.column for task, rule in edition.tasks.items() if task in table.quantities and task not in scores]
    return (f"not used, because a finding doubts it: {', '.join(named)}",) if named else ()


def _tabled(plain: Entrant, table: ForeignResults, edition: Edition) -> Entrant:
    reader = _Reader(plain.name, table, doubted(plain.findings))
    scores: dict[str, Number] = {
        task: number for task in edition.tasks if (number := reader.score(task, edition)) is not None
    }
    counts = {task: rule.item_count for task, rule in edition.tasks.items() if task in scores}
    throughput = reader.mean("throughput")
    wanted = UNITS.get(edition.measurement.throughput_unit)
    is_comparable = throughput is not None and throughput.unit == wanted
    return Entrant(
        name=plain.name,
        team=plain.team,
        kind=plain.kind,
        findings=plain.findings,
        models=tuple(row.model for row in table.rows if row.model),
        scores=scores,
        item_counts={task: count for task, count in counts.items() if count is not None},
        throughput=throughput if is_comparable else None,
        protocol="as its table states it, on an unknown device" if is_comparable else None,
        memory=reader.mean("memory"),
        peak_memory=reader.largest("memory"),
        notes=(
            *(() if throughput is None or is_comparable else (_other_unit(throughput, edition),)),
            *_withheld(table, edition, scores),
        ),
    )


def _other_unit(throughput: Number, edition: Edition) -> str:
    return f"its throughput is in {throughput.unit}, not in {edition.measurement.throughput_unit}: no points for it"


class _Reader:
    """Numbers of one table with their lines and columns; what a finding doubts is not there."""

    def __init__(self, name: str, table: ForeignResults, doubted_cells: frozenset[tuple[str, str | None]]) -> None:
        self._name = name
        self._table = table
        self._values = table.values()
        self._doubted = doubted_cells

    def score(self, task: Quantity, edition: Edition) -> Number | None:
        """The score of ``task`` in the edition's scale."""
        found = self.mean(task)
        if found is None:
            return None
        highest, scale = (1.0 if found.unit == "fraction" else 100.0), edition.tasks[task].scale  # type: ignore[index]
        return found.model_copy(update={"value": found.value * scale / highest, "unit": f"of {scale:g}"})

    def mean(self, quantity: Quantity) -> Number | None:
        """The mean over the rows."""
        return self._number(quantity, "mean", lambda _: self._values[quantity])

    def largest(self, quantity: Quantity) -> Number | None:
        """The largest of the rows."""
        return self._number(quantity, "largest", max)

    def _number(self, quantity: Quantity, name: str, make: Callable[[list[float]], float]) -> Number | None:
        if quantity not in self._values:
            return None
        values = [row.values[quantity] for row in self._table.rows]
        if len({value.unit for value in values}) > 1:
            return None  # a mean of two units is no number
        places = [value.source.field for value in values]
        if any((self._table.file, place) in self._doubted for place in places):
            return None
        return Number(
            value=make([value.value for value in values]),
            unit=values[0].unit,
            sources=tuple(Source(entry=self._name, file=self._table.file, field=place) for place in places),
            how="as stated" if len(values) == 1 else f"{name} over {len(values)} rows",
        )
