"""How a program ended, as the supervisor saw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["passed", "failed", "timed out", "memory", "output", "killed"]
"""passed      its code ran to the very end
failed         it raised, exited, or died of a signal of its own making
timed out      on the clock or on the processor
memory         it raised MemoryError, or the kernel ended it for want of memory
output         it printed more than it may
killed         the sandbox ended it for what it tried
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Of one program."""

    verdict: Verdict
    exception: str = ""
    """Type of the exception that ended it; empty where none was reported."""
    message: str = ""
    """Of that exception, shortened; or what the supervisor has to say. The program chose the former: never trust it."""
    duration_s: float
    peak_memory_bytes: int
    """Resident, of its one process; the interpreter's own dozen megabytes are among them."""
    stdout: str = ""
    """Its last few kilobytes."""
    stderr: str = ""

    @property
    def passed(self) -> bool:
        """Whether its code ran to the very end."""
        return self.verdict == "passed"
