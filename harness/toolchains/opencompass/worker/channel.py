"""Standard output carries events and nothing else; whatever libraries print goes to standard error."""

from __future__ import annotations

import json
import os
import sys

FAILED = 3
"""Exit code of a process whose failure was reported as an event."""


class Failure(Exception):
    """The evaluation cannot end in a score; the message is for the user."""


class Reported(Exception):
    """A forked process failed and has said why."""


class Channel:
    """The one writer of events: a JSON object a line on the original standard output."""

    def __init__(self) -> None:
        """Keep the original standard output and point descriptor 1 and ``sys.stdout`` at standard error."""
        self._stream = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def progress(self, label: str, done: int, total: int, detail: str = "") -> None:
        """Report ``done`` of ``total`` units of ``label``."""
        self._send({"event": "progress", "label": label, "done": done, "total": total, "detail": detail})

    def failure(self, message: str) -> None:
        """Report why there will be no result."""
        self._send({"event": "failed", "message": message})

    def _send(self, event: dict[str, object]) -> None:
        self._stream.write(json.dumps(event) + "\n")
