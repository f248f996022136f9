"""What stands in a cell: numbers and their units, and nothing that has to be guessed.

"8573.243"               one reading, no unit
"8.755 GB"               one reading, GB
"71.61 inf/s 0.014 s"    two readings: a rate and a duration
"12,5", "~40", "n/a"     none: refused
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

NOT_MEASURED: Final = frozenset(("", "-", "--", "n/a", "na", "none", "null", "nan", "tbd", "?"))
"""What people and OpenCompass write where there is no number."""
MEMORY_UNIT_BYTES: Final = {
    "b": 1,
    "bytes": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "m": 10**6,
    "g": 10**9,
}
"""Decimal where the unit does not say that it is binary."""
RATE_UNITS: Final = {
    "inf/s": "inferences/s",
    "inference/s": "inferences/s",
    "inferences/s": "inferences/s",
    "inferences/second": "inferences/s",
    "samples/s": "inferences/s",
    "it/s": "inferences/s",
    "tok/s": "tokens/s",
    "token/s": "tokens/s",
    "tokens/s": "tokens/s",
    "tokens/second": "tokens/s",
    "t/s": "tokens/s",
}
_READING: Final = re.compile(
    r"([-+]?\d{1,40}(?:\.\d{0,40})?(?:[eE][-+]?\d{1,2})?)\s*(%|[A-Za-z]+(?:\s*/\s*[A-Za-z]+)?)?"
)
_MAX_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One number of a cell."""

    value: float
    half_step: float
    """Half a unit of the last digit that is printed: how exact the number is at best."""
    unit: str
    """Lower case, without spaces; empty for none."""


def readings(text: str) -> tuple[Reading, ...]:
    """Every number of ``text`` with its unit; nothing where anything else stands in it, or a number is not finite."""
    found: list[Reading] = []
    at = 0
    stripped = text.strip()
    while at < len(stripped) <= _MAX_CHARACTERS:
        match = _READING.match(stripped, at)
        if match is None:
            return ()
        found.append(_reading(match.group(1), match.group(2) or ""))
        rest = stripped[match.end() :]
        at = match.end() + len(rest) - len(rest.lstrip(" ,;"))
        if at == match.end() and rest:
            return ()
    return tuple(found) if all(math.isfinite(one.value) for one in found) else ()


def _reading(number: str, unit: str) -> Reading:
    mantissa, _, exponent = number.lower().partition("e")
    decimals = len(mantissa.partition(".")[2]) - int(exponent or 0)
    return Reading(value=float(number), half_step=0.5 * 10.0 ** (-decimals), unit="".join(unit.split()).casefold())
