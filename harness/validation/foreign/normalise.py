"""A stranger's file of results, read into ``ForeignResults``: what is certain is normalised, the rest is refused.

Every assumption is a note, every refusal an error with line and column, every doubt withholds what it doubts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, Final

from harness.rules.finding import Finding, Place, Severity
from harness.submission import layout
from harness.validation import strict_json
from harness.validation.catalogue import finding
from harness.validation.foreign.columns import columns, match, unit_of
from harness.validation.foreign.doubts import doubts_of_row, permuted, tasks
from harness.validation.foreign.results import ForeignResults, ForeignRow, ReadResults, Value
from harness.validation.foreign.table import NoTable, read_table
from harness.validation.foreign.values import Refused, read_value
from harness.validation.listing import Unreadable, read_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from harness.validation.foreign.columns import Quantity
    from harness.validation.foreign.doubts import Doubt
    from harness.validation.foreign.table import Cell, Table

MAX_RESULTS_BYTES: Final = 1 << 20
_FORMS: Final = {
    "tab": "the columns are parted by tabs",
    "semicolon": "the columns are parted by semicolons",
    "summary": "the file is a summary of OpenCompass",
}
_MEANS: Final = frozenset(("average", "mean", "avg", "overall", "all"))
"""What a row is called that is the mean of the others."""


def read_results(path: Path, name: str) -> ReadResults:
    """The results in the file at ``path``, which findings call ``name``."""
    place = Place(file=name)
    try:
        content = read_plain(path, max_bytes=MAX_RESULTS_BYTES)
    except Unreadable as error:
        allowed = f"a plain file of at most {MAX_RESULTS_BYTES} bytes"
        fault = finding("foreign.unreadable", place, f"the file {error}", found=str(error), allowed=allowed)
        return ReadResults(results=None, findings=(fault,))
    return normalise(content, name)


def normalise(content: bytes, name: str) -> ReadResults:
    """The results in ``content``, the bytes of the file ``name``; whatever the bytes are, nothing is raised."""
    reader = _Reader(file=name)
    try:
        table = read_table(strict_json.decode(content).removeprefix("\ufeff"))
    except strict_json.NotJson as error:
        place = Place(file=name, byte_offset=error.byte_offset)
        fault = finding("foreign.unreadable", place, f"the file {error}", found=str(error), allowed="text in UTF-8")
        return ReadResults(results=None, findings=(fault,))
    except NoTable as error:
        message = f"the file is no table: {error}"
        fault = finding("foreign.unreadable", Place(file=name), message, found=str(error), allowed="a header, a row")
        return ReadResults(results=None, findings=(fault,))
    results = reader.results(table)
    return ReadResults(results=results, findings=tuple(reader.findings))


@dataclass(slots=True, kw_only=True)
class _Reader:
    """Reads one table and gathers what it finds."""

    file: str
    findings: list[Finding] = field(default_factory=list)

    def results(self, table: Table) -> ForeignResults | None:
        """The table's results; None where there is no row to read."""
        self._form(table)
        if not table.heading or not table.rows:
            found = "an empty file" if not table.heading else "a header and no row"
            self._say("foreign.results_missing", None, "the file holds no results", found, "a header and a row")
            return None
        positions = self._columns(table)
        rows = [row for cells in table.rows if (row := self._row(cells, positions, table.heading)) is not None]
        rows = [self._doubted(row) for row in self._without_mean(rows)]
        results = ForeignResults(file=self.file, quantities=tuple(positions), rows=tuple(rows))
        moved = permuted(rows, self.file, results.model_counts)
        self.findings += [doubt.finding for doubt in moved]
        rows = [_withhold(row, moved) for row in rows]
        self._recomputed(table)
        return replace(results, rows=tuple(rows), is_one_entry=self._is_one_entry(rows))

    def _say(  # noqa: PLR0913, PLR0917 - a finding is these facts
        self, rule: str, at: str | None, message: str, found: object, allowed: str, severity: Severity | None = None
    ) -> None:
        place = Place(file=self.file, field=at)
        self.findings.append(finding(rule, place, message, found=found, allowed=allowed, severity=severity))

    def _form(self, table: Table) -> None:
        """Say what was assumed about the file as a whole."""
        leaf = self.file.rpartition("/")[2]
        if table.form != "summary" and leaf != layout.RESULTS:
            message = "the file was read as the entry's table of results"
            self._say("foreign.file_name", None, message, leaf, layout.RESULTS)
        if table.form in _FORMS:
            message = f"{_FORMS[table.form]}; it was read as such"
            self._say("foreign.table_form", "header", message, table.form, "comma-separated values")

    def _columns(self, table: Table) -> dict[Quantity, int]:
        """Where each quantity stands; what is unknown, twice or missing is said."""
        positions: dict[Quantity, int] = {}
        twice: set[Quantity] = set()
        for position, cell in enumerate(table.heading):
            quantity = match(cell.text)
            if quantity is None:
                self._extra(cell)
            elif quantity in positions:
                twice.add(quantity)
                message = f"two columns can be {columns()[quantity].heading}, so neither is read"
                found = f"{table.heading[positions[quantity]].text!r} and {cell.text!r}"
                self._say("foreign.column_ambiguous", cell.field, message, found, "one column for each quantity")
            else:
                positions[quantity] = position
                self._renamed(quantity, cell)
        self._missing(table, positions)
        self._order(table, list(positions))
        return {quantity: position for quantity, position in positions.items() if quantity not in twice}

    def _extra(self, cell: Cell) -> None:
        message = (
            f"the column {cell.text or '(without a name)'} is none of the competition's final form; it is not read"
        )
        allowed = ", ".join(columns()[name].heading for name in (*tasks(), "throughput", "memory"))
        self._say("foreign.column_extra", cell.field, message, cell.text or "no name", allowed)

    def _renamed(self, quantity: Quantity, cell: Cell) -> None:
        heading = columns()[quantity].heading
        if cell.text != heading and quantity not in {"model", "average"}:
            message = f"the column {cell.text!r} was read as {heading}"
            self._say("foreign.column_name", cell.field, message, cell.text, heading)

    def _missing(self, table: Table, positions: dict[Quantity, int]) -> None:
        wanted = tasks() if table.form == "summary" else (*tasks(), "throughput", "memory")
        for quantity in wanted:
            if quantity not in positions:
                heading = columns()[quantity].heading
                found = ", ".join(cell.text for cell in table.heading)
                self._say("foreign.column_missing", "header", f"no column is {heading}", found, heading)

    def _order(self, table: Table, found: list[Quantity]) -> None:
        wanted = [quantity for quantity in columns() if quantity in found and quantity not in {"model", "average"}]
        in_order = [quantity for quantity in found if quantity not in {"model", "average"}]
        if in_order != wanted and table.form != "summary":
            message = "the columns stand in another order; they were read by their names"
            names = ", ".join(columns()[quantity].heading for quantity in in_order)
            allowed = ", ".join(columns()[quantity].heading for quantity in wanted)
            self._say("foreign.table_form", "header", message, names, allowed)

    def _row(
        self, cells: tuple[Cell, ...], positions: dict[Quantity, int], heading: tuple[Cell, ...]
    ) -> ForeignRow | None:
        line = cells[0].line
        if len(cells) < len(heading) or any(cell.text for cell in cells[len(heading) :]):
            message = "the row has not one cell for each column, so it is not read"
            self._say("foreign.row", f"line {line}", message, f"{len(cells)} cells", f"{len(heading)} cells")
            return None
        values = dict(self._values(cells, positions, heading))
        model = cells[positions["model"]].text if "model" in positions else None
        return ForeignRow(line=line, model=model or None, values=values)

    def _values(
        self, cells: tuple[Cell, ...], positions: dict[Quantity, int], heading: tuple[Cell, ...]
    ) -> Iterator[tuple[Quantity, Value]]:
        for quantity, position in positions.items():
            if quantity == "model":
                continue
            cell = cells[position]
            try:
                value = read_value(quantity, cell, unit_of(heading[position].text))
            except Refused as error:
                self._say(
                    "foreign.cell", cell.field, f"{columns()[quantity].heading}: {error}", cell.text, error.allowed
                )
                continue
            for said in value.assumed if value.value else ():
                self._say("foreign.unit", cell.field, f"{columns()[quantity].heading}: {said}", cell.text, value.unit)
            yield quantity, value

    def _without_mean(self, rows: list[ForeignRow]) -> list[ForeignRow]:
        """The rows of models; a row that is their mean is held against them."""
        means = [row for row in rows if (row.model or "").casefold() in _MEANS]
        others = [row for row in rows if row not in means]
        if not means or not others:
            return rows
        for quantity, value in means[0].values.items():
            parts = [row.values[quantity] for row in others if quantity in row.values]
            mean = fmean(part.value for part in parts) if parts else value.value
            if abs(mean - value.value) > 2 * value.half_step + max((part.half_step for part in parts), default=0.0):
                self._average(value.source, columns()[quantity].heading, mean)
        return others

    def _average(self, cell: Cell, heading: str, mean: float) -> None:
        message = f"the stated mean of {heading} is not the mean of what it is said to be over"
        self._say("scores.average", cell.field, message, cell.text, f"{mean:.4f}")

    def _recomputed(self, table: Table) -> None:
        """Hold a summary's stated averages against their parts, which are printed with two decimals."""
        for cell, mean in table.recomputed:
            try:
                stated = read_value("bbh", cell, None)
            except Refused:
                continue  # foreign.cell says so
            if abs(stated.value - mean) > 2 * stated.half_step:
                self._average(cell, "BBH's subsets", mean)

    def _doubted(self, row: ForeignRow) -> ForeignRow:
        """The row with what is doubtful about it said and withheld."""
        doubts = doubts_of_row(row, self.file)
        self.findings += [doubt.finding for doubt in doubts]
        self._stated_average(row)
        return _withhold(row, doubts)

    def _stated_average(self, row: ForeignRow) -> None:
        """Hold the row's own average against its six scores, each in percent."""
        stated = row.values.get("average")
        parts = [row.values[name] for name in tasks() if name in row.values]
        if stated is None or len(parts) < len(tasks()):
            return
        mean = 100 * fmean(part.share for part in parts)
        if abs(mean - stated.value) > stated.half_step + 100 * fmean(part.share_half_step for part in parts):
            self._average(stated.source, "the tasks", mean)

    def _is_one_entry(self, rows: list[ForeignRow]) -> bool:
        """Whether several rows are one entry's models; said, and refused where they have no names."""
        if len(rows) <= 1:
            return True
        names = [row.model for row in rows]
        is_one = all(names) and len(set(names)) == len(names)
        message = (
            "there is a row for each model; the entry's values are the means over them"
            if is_one
            else "there are several rows and nothing says which one is the entry's"
        )
        found = f"{len(rows)} rows: {', '.join(name or 'no name' for name in names[:5])}"
        severity = Severity.NOTE if is_one else Severity.ERROR
        self._say("foreign.rows", f"line {rows[1].line}", message, found, "one row, or a named row a model", severity)
        return is_one


def _withhold(row: ForeignRow, doubts: Iterable[Doubt]) -> ForeignRow:
    return replace(row, withheld=row.withheld.union(*(doubt.quantities for doubt in doubts)))
