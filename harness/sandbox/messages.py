"""What the supervisor and a cell say to each other: jobs one way, with their length in front, a JSON line back."""

from __future__ import annotations

import json
import os
from typing import Any, Final

JOB: Final = 200
EVENT: Final = 201
"""Descriptors of the cell's ends."""
HEADER_BYTES: Final = 8
KILL: Final = b""
"""A job without text: end what runs."""


def send(event: dict[str, Any]) -> None:
    """Tell the supervisor."""
    os.write(EVENT, json.dumps(event).encode() + b"\n")


def receive(descriptor: int) -> bytes | None:
    """The next job; None at the end of the pipe."""
    header = _exactly(descriptor, HEADER_BYTES)
    return None if header is None else _exactly(descriptor, int.from_bytes(header, "little"))


def _exactly(descriptor: int, count: int) -> bytes | None:
    parts = []
    while count:
        part = os.read(descriptor, min(count, 1 << 20))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
