"""A row's cells as values: the unit that is written, else the one that the competition's own script prints.

task        a number, perhaps with %; TruthfulQA above 1 is a percentage
throughput  a number and a rate; without one, per second of what is not said
memory      a number and a size; without one MiB, as the starting kit's script divides by 1024**2
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from harness.validation.foreign.cells import MEMORY_UNIT_BYTES, NOT_MEASURED, RATE_UNITS, readings
from harness.validation.foreign.columns import columns
from harness.validation.foreign.results import Value

if TYPE_CHECKING:
    from harness.validation.foreign.cells import Reading
    from harness.validation.foreign.columns import Quantity
    from harness.validation.foreign.table import Cell

ASSUMED_MEMORY_UNIT: Final = "mib"
_UNMISTAKABLE: Final = frozenset(("b", "bytes", "kib", "mib", "gib"))
_SECONDS: Final = frozenset(("s", "sec", "seconds"))


class Refused(Exception):
    """A cell that is not read; the message says why. Becomes a finding, never leaves ``foreign``."""

    def __init__(self, reason: str, allowed: str) -> None:
        super().__init__(reason)
        self.allowed = allowed


def read_value(quantity: Quantity, cell: Cell, heading_unit: str | None) -> Value:
    """What ``cell`` says of ``quantity``.

    Args:
        quantity: a task, ``throughput``, ``memory`` or ``average``.
        cell: where it stands.
        heading_unit: the unit in the column's heading, for cells that have none.

    Raises:
        Refused: nothing was measured, or the cell holds something else.
    """
    if cell.text.casefold() in NOT_MEASURED:
        raise Refused("the cell holds no value", "a measured value")
    found = readings(cell.text)
    if heading_unit is not None and len(found) == 1 and not found[0].unit:
        found = (replace(found[0], unit="".join(heading_unit.split()).casefold()),)
    if quantity == "throughput":
        return _throughput(found, cell)
    if quantity == "memory":
        return _memory(found, cell)
    return _score(quantity, found, cell)


def _score(quantity: Quantity, found: tuple[Reading, ...], cell: Cell) -> Value:
    if len(found) != 1 or found[0].unit not in {"", "%"}:
        raise Refused("the cell is no score", "one number, perhaps with %")
    one = found[0]
    value = Value(value=one.value, unit="percent", half_step=one.half_step, source=cell)
    if columns()[quantity].scale != 1:
        return value
    if one.unit == "%" or one.value > 1:
        said = (f"{cell.text} was read as a percentage of a task that is stated as a fraction",)
        return replace(value, value=one.value / 100, half_step=one.half_step / 100, unit="fraction", assumed=said)
    return replace(value, unit="fraction")


def _throughput(found: tuple[Reading, ...], cell: Cell) -> Value:
    rates = [one for one in found if one.unit in RATE_UNITS]
    others = [one for one in found if one not in rates]
    if len(rates) == 1 and all(one.unit in _SECONDS for one in others):
        said = f"of several numbers the one in {RATE_UNITS[rates[0].unit]} was read"
        return _of(rates[0], RATE_UNITS[rates[0].unit], cell, *((said,) if others else ()))
    if len(found) == 1 and not found[0].unit:
        said = (
            "no unit is written; the starting kit's script prints inferences per second, decoded tokens are as likely"
        )
        return _of(found[0], "1/s", cell, said)
    raise Refused("the cell is no throughput", "one number, with inferences/s or tokens/s")


def _memory(found: tuple[Reading, ...], cell: Cell) -> Value:
    if len(found) != 1 or (found[0].unit and found[0].unit not in MEMORY_UNIT_BYTES):
        raise Refused("the cell is no memory usage", "one number, with MB, GB, MiB or GiB")
    one = found[0]
    unit_bytes = MEMORY_UNIT_BYTES[one.unit or ASSUMED_MEMORY_UNIT]
    said: tuple[str, ...] = ()
    if not one.unit:
        said = (f"no unit is written; read as MiB ({unit_bytes} bytes), which the starting kit's script prints",)
    elif one.unit not in _UNMISTAKABLE:
        said = (f"{one.unit.upper()} was read as {unit_bytes} bytes; many programs print {one.unit[0].upper()}iB so",)
    scaled = replace(one, value=one.value * unit_bytes, half_step=one.half_step * unit_bytes)
    return _of(scaled, "bytes", cell, *said)


def _of(reading: Reading, unit: str, cell: Cell, *assumed: str) -> Value:
    return Value(value=reading.value, unit=unit, half_step=reading.half_step, source=cell, assumed=assumed)
