"""How long something takes, on the wall and on the processors, child processes included."""

from __future__ import annotations

import resource
import time


class Clock:
    """Starts when it is made."""

    def __init__(self) -> None:
        self._wall, self._processor = time.monotonic(), _processor_seconds()

    def wall(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._wall

    def processor(self) -> float:
        """CPU seconds since the start: of this process and of its children that ended."""
        return _processor_seconds() - self._processor


def _processor_seconds() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
