"""The verdict on one program, from what the kernel and the pipes say: no word of the program is enough to pass."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from .ending import NONCE_BYTES
from .outcome import Outcome, Verdict
from .program import SEAL_FAILED

if TYPE_CHECKING:
    from .limits import Limits

Stop = Literal["time", "output", "silence"]
CPU_SLACK_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Of one program that has ended."""

    nonce: bytes
    shown: bytes
    """What was written to the verdict's pipe."""
    exit_code: int
    """Negative: minus the signal."""
    stop: Stop | None
    """What it was ended for."""
    duration_s: float
    cpu_s: float
    peak_memory_bytes: int
    stdout: str
    stderr: str


def judge(evidence: Evidence, limits: Limits) -> Outcome:
    """The outcome: passed only where the nonce was shown, and nothing else, by a process that ended well."""
    verdict, exception, message = _find(evidence, limits)
    return Outcome(
        verdict=verdict,
        exception=exception,
        message=message,
        duration_s=evidence.duration_s,
        peak_memory_bytes=evidence.peak_memory_bytes,
        stdout=evidence.stdout,
        stderr=evidence.stderr,
    )


def _find(evidence: Evidence, limits: Limits) -> tuple[Verdict, str, str]:
    if evidence.stop is not None:
        return _stopped(evidence.stop, limits)
    if evidence.exit_code < 0:
        return _signalled(evidence, limits)
    if evidence.exit_code == SEAL_FAILED and not evidence.shown:
        return "killed", "", "its process could not be sealed; it was not run"
    whole = len(evidence.nonce) == NONCE_BYTES
    if evidence.exit_code == 0 and whole and evidence.shown == evidence.nonce:
        return "passed", "", ""
    return _ended(evidence)


def _stopped(stop: Stop, limits: Limits) -> tuple[Verdict, str, str]:
    if stop == "output":
        return "output", "", f"it printed more than {limits.output_bytes} bytes"
    if stop == "silence":
        return "killed", "", "its cell broke, or did not answer any more, and was ended with it"
    return "timed out", "", f"it ran for more than {limits.wall_s} s"


def _signalled(evidence: Evidence, limits: Limits) -> tuple[Verdict, str, str]:
    number = -evidence.exit_code
    if number == signal.SIGSYS:
        return "killed", "", "it made a system call that no program may make (SIGSYS)"
    if number in {signal.SIGKILL, signal.SIGXCPU} and evidence.cpu_s >= limits.cpu_s - CPU_SLACK_S:
        return "timed out", "", f"it computed for more than {limits.cpu_s} s"
    if number == signal.SIGKILL:
        return "memory", "", "the kernel ended it, as it does where memory is short"
    return "failed", "", f"it died of {_signal_name(number)}"


def _signal_name(number: int) -> str:
    known = {known.value for known in signal.Signals}
    return signal.Signals(number).name if number in known else f"signal {number}"


def _ended(evidence: Evidence) -> tuple[Verdict, str, str]:
    """What it says of itself may be believed as far as a failure goes."""
    try:
        claim: Any = json.loads(evidence.shown)
        exception, message = str(claim["exception"]), str(claim["message"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return "failed", "", f"it ended by itself before its end (exit code {evidence.exit_code})"
    return ("memory" if exception == "MemoryError" else "failed"), exception, message
