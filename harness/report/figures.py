"""Numbers as people read them: grouped, with a unit, never more digits than they are worth."""

from __future__ import annotations

import math
from typing import Final

ABSENT: Final = "\u2013"
"""What was not measured."""
WHOLE_FROM: Final = 1000
SIZES: Final = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
COUNTS: Final = ((10**9, "B"), (10**6, "M"), (10**3, "k"))
MINUTE_S: Final = 60


def number(value: float | None) -> str:
    """Four significant digits, whole numbers from a thousand on; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return f"{value:,.0f}" if abs(value) >= WHOLE_FROM else f"{value:.4g}"


def interval(low: float | None, high: float | None) -> str:
    """``65.1 to 78.9``: three significant digits; empty where there is none."""
    return "" if low is None or high is None else f"{low:.3g} to {high:.3g}"


def whole(value: int | None) -> str:
    """``1,180,800``."""
    return ABSENT if value is None else f"{value:,}"


def count(value: int | None) -> str:
    """``8.03 B``, ``1.18 M``, ``512``."""
    return ABSENT if value is None else _scaled(value, COUNTS, str(value))


def size(value: int | None) -> str:
    """``2.36 MB``, with 1 MB = 10**6 bytes."""
    return ABSENT if value is None else _scaled(value, SIZES, f"{value} B")


def measured(value: float, unit: str) -> str:
    """A number with the unit that the record gives it; bytes and counts of parameters in larger units."""
    if unit == "bytes":
        return size(round(value))
    return count(round(value)) if unit == "parameters" else f"{number(value)} {unit}"


def share(value: float | None) -> str:
    """``49.0 %``."""
    return ABSENT if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"


def duration(value: float | None) -> str:
    """``3.2 s``, ``12 m 04 s``, ``5 h 10 m``."""
    if value is None or not math.isfinite(value):
        return ABSENT
    if value < MINUTE_S:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), MINUTE_S)
    hours, minutes = divmod(minutes, MINUTE_S)
    return f"{hours} h {minutes:02d} m" if hours else f"{minutes} m {seconds:02d} s"


def _scaled(value: int, units: tuple[tuple[int, str], ...], small: str) -> str:
    for unit, name in units:
        if abs(value) >= unit:
            return f"{value / unit:.2f} {name}"
    return small
