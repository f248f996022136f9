"""The cap of a measuring process, seen from outside: poll its high-water mark, end it when it is above.

    worker ── {"event": "process", "pid": …} ──> Watchdog: every 10 ms VmHWM of that process ── above ──> SIGKILL

VmHWM never falls, so no peak between two looks is missed: at worst it is acted on 10 ms late. Inside the process stands
RLIMIT_DATA, and the worker itself compares its VmHWM with the cap before it writes its answer.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Final, Self

from harness.errors import MeasurementFailed
from harness.judge.memory import peak_resident_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.containment import Event

POLL_INTERVAL_S: Final = 0.01


class Watchdog:
    """Watches one process from the moment that it announces itself; use it around the call."""

    def __init__(self, limit_bytes: int, on_event: Callable[[Event], None]) -> None:
        self._limit_bytes = limit_bytes
        self._on_event = on_event
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.killed_at_bytes: int | None = None
        """VmHWM when the process was ended; none where it was not."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def on_event(self, event: Event) -> None:
        """Begin to watch at ``process``; hand everything else on."""
        pid = event.get("pid")
        if event.get("event") == "process" and isinstance(pid, int):
            self._thread = threading.Thread(target=self._watch, args=(pid,), daemon=True)
            self._thread.start()
        else:
            self._on_event(event)

    def _watch(self, pid: int) -> None:
        # A process that is gone has no status file; a zombie has one without VmHWM.
        with contextlib.suppress(OSError, ProcessLookupError, MeasurementFailed):
            while not self._ended.wait(POLL_INTERVAL_S):
                if (peak := peak_resident_bytes(str(pid))) > self._limit_bytes:
                    self.killed_at_bytes = peak
                    os.kill(pid, signal.SIGKILL)
                    return
