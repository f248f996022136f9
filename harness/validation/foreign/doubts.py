"""What was read and cannot be believed: never filled in, swapped, permuted, in units that cannot be.

Each doubt names the quantities that it withholds; the numbers stay in the row, so that they can be shown.

    memory of a language model   between 200 MiB and 64 GiB     41 is none, 3100 is
    throughput                   above 0
    shares                       not all six below 1 percent
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.rules.finding import Finding, Place
from harness.validation.catalogue import finding
from harness.validation.foreign.columns import columns
from harness.validation.foreign.granularity import betrays, contradicts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.validation.foreign.columns import Quantity
    from harness.validation.foreign.results import ForeignRow, Value

LEAST_MEMORY_BYTES: Final = 200 * 2**20
MOST_MEMORY_BYTES: Final = 64 * 2**30
ASSUMED_UNIT_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A finding and the quantities that it withholds."""

    finding: Finding
    quantities: frozenset[Quantity]


def tasks() -> tuple[Quantity, ...]:
    """The scored tasks, in the competition's order."""
    return tuple(name for name, column in columns().items() if column.is_task)


def doubts_of_row(row: ForeignRow, file: str) -> tuple[Doubt, ...]:
    """What is doubtful about one row on its own."""
    template = _template(row, file)
    if template is not None:
        return (template,)
    swapped = _swapped(row, file)
    return (*swapped, *_fractions(row, file), *(() if swapped else _units(row, file)))


def _template(row: ForeignRow, file: str) -> Doubt | None:
    """A row of zeros is the starting kit's template, not a measurement."""
    measured = [value for quantity, value in row.values.items() if quantity not in {"model", "average"}]
    if not measured or any(value.value for value in measured):
        return None
    place = Place(file=file, field=f"line {row.line}")
    message = "every value is zero: the template was never filled in"
    fault = finding("scores.template", place, message, found=f"{len(measured)} zeros", allowed="measured values")
    return Doubt(finding=fault, quantities=frozenset(row.values))


def _swapped(row: ForeignRow, file: str) -> tuple[Doubt, ...]:
    """Throughput and memory changed places: as they stand the memory cannot be, the other way round it can."""
    speed, memory = row.values.get("throughput"), row.values.get("memory")
    if speed is None or memory is None or speed.unit != "1/s" or not _is_bare(memory):
        return ()
    if _is_memory(memory.value) or not _is_memory(speed.value * ASSUMED_UNIT_BYTES) or memory.value <= 0:
        return ()
    message = "the throughput can only be a memory usage, and the memory usage can only be a throughput"
    found = f"throughput {speed.source.text}, memory {memory.source.text}"
    place = Place(file=file, field=speed.source.field)
    fault = finding("scores.swapped", place, message, found=found, allowed="each in its column, with its unit")
    return (Doubt(finding=fault, quantities=frozenset(("throughput", "memory"))),)


def _units(row: ForeignRow, file: str) -> Iterator[Doubt]:
    memory, speed = row.values.get("memory"), row.values.get("throughput")
    if memory is not None and not _is_memory(memory.value):
        unit = "which has no unit and was read as MiB" if _is_bare(memory) else "with the unit that is written"
        message = f"no language model runs in the memory that is stated, {unit}"
        allowed = f"{LEAST_MEMORY_BYTES} to {MOST_MEMORY_BYTES} bytes, with a unit"
        yield _unit_doubt("memory", memory, file, message, allowed)
    if speed is not None and speed.value == 0:
        yield _unit_doubt(
            "throughput", speed, file, "a throughput of zero is no measurement", "more than 0, with a unit"
        )


def _unit_doubt(quantity: Quantity, value: Value, file: str, message: str, allowed: str) -> Doubt:
    place = Place(file=file, field=value.source.field)
    fault = finding("scores.units", place, message, found=value.source.text, allowed=allowed)
    return Doubt(finding=fault, quantities=frozenset((quantity,)))


def _fractions(row: ForeignRow, file: str) -> Iterator[Doubt]:
    """Scores that may be fractions in columns of percentages."""
    percents = {name: value for name in tasks() if (value := row.values.get(name)) and value.unit == "percent"}
    highest = max((value.value for value in percents.values()), default=0.0)
    if len(percents) > 2 and 0 < highest <= 1:  # noqa: PLR2004 - one or two low scores are low scores
        message = "every score is at most 1, so they may be fractions where percentages are asked for"
        place = Place(file=file, field=f"line {row.line}")
        found = f"scores up to {highest:g}"
        fault = finding("scores.units", place, message, found=found, allowed="percentages")
        yield Doubt(finding=fault, quantities=frozenset(percents))


def _is_memory(size_bytes: float) -> bool:
    return LEAST_MEMORY_BYTES <= size_bytes <= MOST_MEMORY_BYTES


def _is_bare(value: Value) -> bool:
    """Whether the number was written without a unit."""
    return value.assumed[:1] != () and value.assumed[0].startswith("no unit")


def permuted(rows: Sequence[ForeignRow], file: str, model_counts: Sequence[int]) -> tuple[Doubt, ...]:
    """Columns whose values cannot be their task's and can only be another's, over all rows."""
    known = {name: columns()[name].item_counts for name in tasks()}
    moved: list[tuple[Quantity, str]] = []
    for name in tasks():
        values = [row.values[name] for row in rows if name in row.values]
        shares = [(_stated_percent(value), _stated_half_step(value)) for value in values]
        own = [count * models for count in known[name] for models in model_counts]
        misfits = any(contradicts(value.share, value.share_half_step, own) for value in values)
        fits = betrays(shares, {other: counts for other, counts in known.items() if other != name})
        if misfits and fits is not None:
            moved.append((name, fits))
    if not moved:
        return ()
    said = "; ".join(f"{columns()[name].heading} holds {columns()[other].heading}" for name, other in moved)  # type: ignore[index]
    first = next(row.values[moved[0][0]].source for row in rows if moved[0][0] in row.values)
    message = "the columns are permuted: their values are multiples of another task's items"
    place = Place(file=file, field=f"column {first.column}")
    fault = finding("scores.permuted", place, message, found=said, allowed="each score in its task's column")
    return (Doubt(finding=fault, quantities=frozenset(tasks())),)


def _stated_percent(value: Value) -> float:
    """The share if the number is a percentage, as another task's would be."""
    stated = value.value * (100 if value.unit == "fraction" and value.assumed else 1)
    return stated / 100


def _stated_half_step(value: Value) -> float:
    return value.half_step * (100 if value.unit == "fraction" and value.assumed else 1) / 100
