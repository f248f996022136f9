"""Hand out programs to cells, watch them, judge them; outside the walls, and alone in saying what passed.

A cell that ends or falls silent is replaced; the program that it ran has failed, the others do not notice.
"""

from __future__ import annotations

import contextlib
import os
import select
import tempfile
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from .cell import LayerFailed, Plan
from .handle import CellBroken, Handle, Stream
from .judgement import Evidence, judge
from .layers import Layer, properties, refusal
from .limits import Limits
from .root import readable_paths
from .warming import warm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .judgement import Stop
    from .layers import Missing, Property
    from .outcome import Outcome
    from .request import Request

GRACE_S: Final = 2.0
"""Beyond its limit, until a cell that does not report the end of its program is ended."""
STOP_GRACE_S: Final = 1.0


class Refused(Exception):
    """A required property does not hold here."""


@dataclass(slots=True)
class Running:
    """A program in its cell."""

    index: int
    nonce: bytes
    deadline: float
    stop: Stop | None = None
    streams: dict[str, Stream] = field(default_factory=lambda: {"stdout": Stream(), "stderr": Stream()})

    @property
    def printed(self) -> int:
        """Bytes, on both streams."""
        return sum(stream.count for stream in self.streams.values())


def find_layers(plan: Plan) -> tuple[Plan, Missing]:
    """Start a cell, and again without the layer that failed, until one stands; the plan that does, and what it lacks.

    Raises:
        CellBroken: no cell stands, for a reason that is no layer's.
    """
    missing: Missing = {}
    while True:
        try:
            Handle.start(plan).end()
        except LayerFailed as failed:
            if failed.layer not in plan.layers:
                raise CellBroken(f"{failed.layer.value} fails where it was left off: {failed.reason}") from failed
            missing[failed.layer] = failed.reason
            plan = replace(plan, layers=plan.layers - {failed.layer})
        else:
            return plan, missing


def probe(without: Iterable[Layer] = ()) -> tuple[Property, ...]:
    """What holds here, and by what."""
    warm()
    with _folder() as folder:
        _, missing = find_layers(_plan(folder, Limits(), (), without))
    return properties(missing | _forced(without))


def _forced(without: Iterable[Layer]) -> Missing:
    return dict.fromkeys(without, "not wanted in this call")


class _folder:  # noqa: N801 - a context, used as one
    """A folder to build roots in; nothing ever appears in it outside a cell."""

    def __enter__(self) -> str:
        self._path = tempfile.mkdtemp(prefix="sandbox-")
        return self._path

    def __exit__(self, *_: object) -> None:
        os.rmdir(self._path)  # noqa: PTH106


def _plan(folder: str, limits: Limits, packages: tuple[str, ...], without: Iterable[Layer]) -> Plan:
    return Plan(
        layers=frozenset(Layer) - frozenset(without),
        limits=limits,
        readable=readable_paths(packages),
        packages=packages,
        folder=folder,
    )


def run(request: Request) -> tuple[Outcome, ...]:
    """The outcome of each program, in order.

    Raises:
        Refused: a required property does not hold here, and ``weak`` was not asked for.
        CellBroken: no cell stands.
    """
    warm(request.preload, request.packages, walled=Layer.ENDING not in request.without)
    with _folder() as folder:
        wanted = _plan(folder, request.limits, request.packages, request.without)
        plan, missing = find_layers(wanted)
        reason = refusal(properties(missing | _forced(request.without)))
        if reason is not None and not request.weak:
            raise Refused(reason)
        return _Floor(plan, request).work()


class _Floor:
    """The cells and what runs in them."""

    def __init__(self, plan: Plan, request: Request) -> None:
        self._plan, self._limits = plan, request.limits
        self._programs = request.programs
        self._waiting = iter(range(len(request.programs)))
        self._outcomes: dict[int, Outcome] = {}
        count = min(request.workers or len(os.sched_getaffinity(0)), len(request.programs))
        self._cells: dict[Handle, Running | None] = {Handle.start(plan): None for _ in range(count)}

    def work(self) -> tuple[Outcome, ...]:
        """Run everything."""
        try:
            for handle in self._cells:
                self._next(handle)
            while any(self._cells.values()):
                self._wait()
                for handle, running in list(self._cells.items()):
                    if running is not None:
                        self._look(handle, running)
        finally:
            for handle in self._cells:
                handle.end()
            _reap()
        return tuple(self._outcomes[index] for index in range(len(self._programs)))

    def _next(self, handle: Handle) -> None:
        index = next(self._waiting, None)
        if index is None:
            self._cells[handle] = None
            return
        deadline = time.monotonic() + self._limits.wall_s + GRACE_S
        self._cells[handle] = Running(index=index, nonce=b"", deadline=deadline)
        try:
            nonce = handle.send(self._programs[index])
        except CellBroken:
            return
        self._cells[handle] = Running(index=index, nonce=nonce, deadline=deadline)

    def _wait(self) -> None:
        """Until something is to be read, or a deadline has passed."""
        busy = {handle: running for handle, running in self._cells.items() if running is not None}
        poll = select.poll()
        for handle in busy:
            for end in (handle.event, handle.stdout, handle.stderr):
                poll.register(end, select.POLLIN)
        first = min(running.deadline for running in busy.values())
        poll.poll(max(0, first - time.monotonic()) * 1000)

    def _look(self, handle: Handle, running: Running) -> None:
        self._read(handle, running)
        try:
            event = handle.next_event()
            if event is None:
                self._mind_limits(handle, running)
                return
            self._read_rest(handle, running)
            self._settle(handle, running, event)
            self._next(handle)
        except CellBroken:
            self._replace(handle, running)

    def _mind_limits(self, handle: Handle, running: Running) -> None:
        if running.printed > self._limits.output_bytes and running.stop is None:
            running.stop, running.deadline = "output", time.monotonic() + STOP_GRACE_S
            handle.stop()
        elif time.monotonic() > running.deadline:
            raise CellBroken("a cell does not answer")

    def _read(self, handle: Handle, running: Running) -> bool:
        """Take what was printed; whether there was anything."""
        pieces = {name: handle.read(name) for name in ("stdout", "stderr")}
        for name, piece in pieces.items():
            running.streams[name].take(piece)
        return any(pieces.values())

    def _read_rest(self, handle: Handle, running: Running) -> None:
        while self._read(handle, running):
            pass
        if running.printed > self._limits.output_bytes:
            running.stop = "output"

    def _settle(self, handle: Handle, running: Running, event: dict[str, Any]) -> None:
        if "ended" not in event:
            raise CellBroken(str(event))
        self._outcomes[running.index] = judge(
            Evidence(
                nonce=running.nonce,
                shown=handle.verdict(),
                exit_code=event["ended"],
                stop=running.stop or ("time" if event["stopped"] == "time" else None),
                duration_s=event["duration_s"],
                cpu_s=event["cpu_s"],
                peak_memory_bytes=event["peak_memory_bytes"],
                **_texts(running),
            ),
            self._limits,
        )

    def _replace(self, handle: Handle, running: Running) -> None:
        """The cell is lost, and its program with it."""
        del self._cells[handle]
        handle.end()
        evidence = Evidence(
            nonce=running.nonce,
            shown=b"",
            exit_code=0,
            stop=running.stop or "silence",
            duration_s=time.monotonic() - (running.deadline - self._limits.wall_s - GRACE_S),
            cpu_s=0.0,
            peak_memory_bytes=0,
            **_texts(running),
        )
        self._outcomes[running.index] = judge(evidence, self._limits)
        fresh = Handle.start(self._plan)
        self._cells[fresh] = None
        self._next(fresh)


def _reap() -> None:
    """Wait until every process that was left to this one, its subreaper, is gone; all of them have been killed."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _texts(running: Running) -> dict[str, str]:
    return {name: stream.tail.decode("utf-8", "replace") for name, stream in running.streams.items()}
