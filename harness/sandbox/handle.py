"""The supervisor's end of one cell: its pipes, its start, its jobs, its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from . import cell, identity
from .ending import NONCE_BYTES
from .layers import Layer
from .messages import HEADER_BYTES, KILL

if TYPE_CHECKING:
    from .cell import Plan

START_S: Final = 30.0
PIECE_BYTES: Final = 1 << 16
TAIL_BYTES: Final = 4 << 10
MOST_EVENT_BYTES: Final = 1 << 20


class CellBroken(Exception):
    """A cell ended or fell silent; what it said is the message."""


@dataclass(slots=True)
class Stream:
    """What a program wrote to one of its streams: how much, and the end of it."""

    count: int = 0
    tail: bytes = b""

    def take(self, piece: bytes) -> None:
        """Count ``piece`` and keep the last of it."""
        self.count += len(piece)
        self.tail = (self.tail + piece)[-TAIL_BYTES:]


class Handle:
    """One cell that stands; make it with `Handle.start`."""

    def __init__(self, plan: Plan) -> None:
        job, event, stdout, stderr, verdict, nonce = (os.pipe() for _ in range(6))
        self._pid = os.fork()
        if self._pid == 0:
            cell.enter(plan, (job[0], event[1], stdout[1], stderr[1], verdict[1], nonce[0]))
        for end in (job[0], event[1], stdout[1], stderr[1], verdict[1]):
            os.close(end)
        self._job, self.event, self.stdout, self.stderr = job[1], event[0], stdout[0], stderr[0]
        self._verdict, self._nonce_in, self._nonce_out = verdict[0], nonce[1], nonce[0]
        self._ends = (self._job, self.event, self.stdout, self.stderr, self._verdict, self._nonce_in, self._nonce_out)
        self._buffer = b""
        self._cell: int | None = None
        for end in self._ends[1:5] + self._ends[6:]:
            os.set_blocking(end, False)

    @classmethod
    def start(cls, plan: Plan) -> Handle:
        """Start a cell and wait until it stands.

        Raises:
            LayerFailed: one of the plan's layers cannot be had.
            CellBroken: it ended, or did not get ready in time.
        """
        handle = cls(plan)
        try:
            handle._await_ready(time.monotonic() + START_S)
        except BaseException:
            handle.end()
            raise
        return handle

    def _await_ready(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            event = self.next_event()
            if event is None:
                time.sleep(0.001)
            elif "ready" in event:
                return
            elif "unshared" in event:
                self._give_users()
            elif "cell" in event:
                self._cell = event["cell"]
            elif "failed" in event:
                raise cell.LayerFailed(Layer(event["failed"]), event["reason"])
            else:
                raise CellBroken(event.get("broken", str(event)))
        raise CellBroken(f"a cell was not ready after {START_S} s")

    def _give_users(self) -> None:
        try:
            identity.write_maps(self._pid)
        except OSError as error:
            raise cell.LayerFailed(Layer.USER, f"its users cannot be set: {error}") from error
        os.write(self._job, b"1")

    def next_event(self) -> dict[str, Any] | None:
        """What the cell says next; None where there is nothing yet.

        Raises:
            CellBroken: it has ended.
        """
        while b"\n" not in self._buffer:
            piece = _read(self.event)
            if piece is None:
                return None
            if not piece or len(self._buffer) > MOST_EVENT_BYTES:
                raise CellBroken("a cell ended without a word")
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        event: dict[str, Any] = json.loads(line)
        return event

    def send(self, source: str) -> bytes:
        """Have ``source`` run; returns the nonce that its end will show.

        Raises:
            CellBroken: it has ended.
        """
        for end in (self.stdout, self.stderr, self._verdict, self._nonce_out):
            _drain(end)
        nonce = os.urandom(NONCE_BYTES)
        os.write(self._nonce_in, nonce)
        self._write(json.dumps({"source": source}).encode())
        return nonce

    def stop(self) -> None:
        """Have the running program ended; the event of its end comes as for any other."""
        self._write(KILL)

    def _write(self, text: bytes) -> None:
        rest = memoryview(len(text).to_bytes(HEADER_BYTES, "little") + text)
        try:
            while rest:
                rest = rest[os.write(self._job, rest) :]
        except BrokenPipeError as error:
            raise CellBroken("a cell is gone") from error

    def read(self, stream: Literal["stdout", "stderr"]) -> bytes:
        """What the program wrote since, up to 64 KiB; empty where there is nothing."""
        return _read(self.stdout if stream == "stdout" else self.stderr) or b""

    def verdict(self) -> bytes:
        """Everything that was written to the verdict's pipe, up to 64 KiB."""
        return _read(self._verdict) or b""

    def end(self) -> None:
        """Kill the cell and everything in it, and let go of the pipes."""
        # Process 1 of a namespace is gone only when all the others are, and then the anteroom ends too.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._cell or self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        for end in self._ends:
            os.close(end)


def _read(descriptor: int) -> bytes | None:
    """A piece; empty at the end of the pipe, None where there is nothing yet."""
    try:
        return os.read(descriptor, PIECE_BYTES)
    except BlockingIOError:
        return None


def _drain(descriptor: int) -> None:
    while _read(descriptor):
        pass
