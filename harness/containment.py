"""One child process, contained: a time limit, a memory limit, a log file, and events on its standard output.

    parent ── run_contained(command) ──> child (own session, own process group)
      ^   stdout: one JSON object a line = an event        stderr: the log
      └── every 100 ms: resident memory of the whole tree against the limit, the clock against the limit

Everything that may hang, crash or allocate without end (plugins, engines, measurements) runs through here.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

Event = dict[str, object]
"""What a child reports while it works, e.g. ``{"event": "progress", "label": "training", "done": 3, "total": 9}``."""

POLL_INTERVAL_S = 0.1
MAX_EVENT_CHARACTERS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a child may use before it is stopped."""

    time_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildReport:
    """How a child ended and what it used."""

    exit_code: int
    """As a shell shows it: negative is minus the signal."""
    duration_s: float
    peak_memory_bytes: int
    """Largest sum of resident memory of the child's process tree that was seen, bytes."""
    stopped_for: Literal["time", "memory"] | None


def run_contained(  # noqa: PLR0913 - the whole environment of a child, named at the call
    command: Sequence[str],
    *,
    limits: Limits,
    log: Path,
    cwd: Path,
    environment: Mapping[str, str],
    on_event: Callable[[Event], None],
) -> ChildReport:
    """Run ``command`` to its end or to its limit; the whole process group is gone when this returns."""
    started = time.monotonic()
    with log.open("ab") as stream:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stream,
            cwd=cwd,
            env=dict(environment),
            start_new_session=True,
        )
    reader = threading.Thread(target=_read_events, args=(child.stdout, on_event), daemon=True)
    reader.start()
    watch = _Watch(child.pid, limits, started)
    try:
        while child.poll() is None and watch.stopped_for is None:
            watch.look()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(POLL_INTERVAL_S)
    finally:
        end_group(child.pid)
        child.wait()
        reader.join(timeout=5)
    return ChildReport(
        exit_code=child.returncode,
        duration_s=time.monotonic() - started,
        peak_memory_bytes=watch.peak_bytes,
        stopped_for=watch.stopped_for,
    )


def end_group(group: int) -> None:
    """Kill every process of ``group``; a group that is gone is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


class _Watch:
    """The memory and the clock of one process tree."""

    def __init__(self, pid: int, limits: Limits, started: float) -> None:
        self._pid = pid
        self._limits = limits
        self._started = started
        self.peak_bytes = 0
        self.stopped_for: Literal["time", "memory"] | None = None

    def look(self) -> None:
        self.peak_bytes = max(self.peak_bytes, tree_memory_bytes(self._pid))
        if self.peak_bytes > self._limits.memory_bytes:
            self.stopped_for = "memory"
        elif time.monotonic() - self._started > self._limits.time_s:
            self.stopped_for = "time"


def tree_memory_bytes(pid: int) -> int:
    """Resident memory of ``pid`` and its descendants, bytes; 0 when it is gone."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
    return total


def _read_events(stream: IO[bytes] | None, on_event: Callable[[Event], None]) -> None:
    """Hand on every line that is a JSON object; a child's stray prints are not events."""
    if stream is None:
        return
    with stream:
        while line := stream.readline(MAX_EVENT_CHARACTERS):
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    on_event(event)
