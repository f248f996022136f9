"""What of a worker's log tells why it failed: the last traceback's ends, or the last lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LOG_BYTES = 1 << 18
"""Read from the end: a worker may fill its log."""
LINES = 12
LINE_CHARACTERS = 300
TRACEBACK = "Traceback (most recent call last)"
HEAD = 2
"""Lines of a long traceback's beginning that are kept; its end says what was wrong."""


def relevant_lines(log: Path) -> str:
    """At most ``LINES`` lines of ``log``, each on a line of its own after a line break; empty where there is no log."""
    lines = [line for line in _tail(log).splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if TRACEBACK in line]
    shown = lines[starts[-1] :] if starts else lines[-LINES:]
    if len(shown) > LINES:
        shown = [*shown[:HEAD], "  …", *shown[-(LINES - HEAD - 1) :]]
    return "".join(f"\n    {line[:LINE_CHARACTERS]}" for line in shown)


def _tail(log: Path) -> str:
    if not log.is_file():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - LOG_BYTES))
        return stream.read().decode(errors="replace")
