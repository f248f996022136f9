"""Both ends of a contained call: a request file, events on the way, a result file.

    host                                         child process (contained: time, memory, log file)
    call(module, request) ── request.json ──>    serve(request type, handler)
      on_event            <── stdout ──────      one JSON object a line: progress, failure
      work_dir/log.txt    <── stderr ──────      everything that anything prints
      returns the answer  <── result file ─      written whole, last

The judge's measurements and the packaging checks run through here. The child starts without the current folder on its
module path, so that a file which a plugin left behind cannot stand in for a library.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

from pydantic import ValidationError

from harness.containment import run_contained
from harness.document import Document
from harness.errors import EngineFailed, HarnessError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.containment import ChildReport, Event, Limits
    from harness.progress import Progress

PROGRESS_INTERVAL_S = 0.1
LOG_TAIL_BYTES = 4096
LOG_TAIL_LINES = 8

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
"""What every contained call runs under: a measurement never asks the network for anything."""


class ContainedRequest(Document):
    """What a contained call is asked. Derive and add fields."""

    result: str
    """Path of the file that the child writes its answer to."""


RequestT = TypeVar("RequestT", bound=ContainedRequest)
AnswerT = TypeVar("AnswerT", bound=Document)


def call(  # noqa: PLR0913 - the whole environment of a call, named where it is made
    module: str,
    request: ContainedRequest,
    answer: type[AnswerT],
    *,
    what: str,
    failed: type[EngineFailed],
    limits: Limits,
    work_dir: Path,
    on_event: Callable[[Event], None],
    environment: Mapping[str, str] | None = None,
) -> AnswerT:
    """Run ``module`` on ``request`` in a fresh process and return its answer.

    Args:
        module: Run as ``python -m``; its ``main`` ends in ``serve``.
        request: Written to ``work_dir``; ``request.result`` is removed first.
        answer: The type that the result file must parse as.
        what: What is being done, for the error's first words.
        failed: The class of the error.
        limits: Time and memory of the child's process tree.
        work_dir: Made if absent; holds request, log and usually the result.
        on_event: Gets every event but the failure.
        environment: Added to the parent's environment and to ``OFFLINE``.

    Raises:
        EngineFailed: of the class ``failed``: the child failed, was stopped, or answered something else. The message
            holds its own words, or the last lines of its log.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    result, log = Path(request.result), work_dir / "log.txt"
    result.unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    request.write(work_dir / "request.json")
    inbox = _Inbox(on_event)
    report = run_contained(
        [sys.executable, "-P", "-m", module, str(work_dir / "request.json")],
        limits=limits,
        log=log,
        cwd=work_dir,
        environment={**os.environ, **OFFLINE, **(environment or {})},
        on_event=inbox,
    )
    cause = _cause(report, limits, inbox.failure, result)
    if cause:
        raise failed(f"{what}: {cause}{_log_tail(log, inbox.failure)}")
    try:
        return answer.read(result)
    except ValidationError as error:
        raise failed(f"{what}: {result} is not what was asked for: {error.errors()[0]['msg'].lower()}") from error


class _Inbox:
    """Keeps the failure that a child announced, hands everything else on."""

    def __init__(self, on_event: Callable[[Event], None]) -> None:
        self._on_event = on_event
        self.failure: str | None = None

    def __call__(self, event: Event) -> None:
        if event.get("event") == "failed":
            self.failure = str(event.get("message"))
        else:
            self._on_event(event)


def _cause(report: ChildReport, limits: Limits, failure: str | None, result: Path) -> str | None:
    if report.stopped_for == "time":
        return f"stopped after {report.duration_s:.0f} s, allowed {limits.time_s:.0f} s"
    if report.stopped_for == "memory":
        return f"stopped at {report.peak_memory_bytes} bytes of memory, allowed {limits.memory_bytes}"
    if failure is not None:
        return failure
    if report.exit_code != 0:
        return f"the process ended with {report.exit_code}"
    return None if result.is_file() else "the process wrote no result"


def _log_tail(log: Path, failure: str | None) -> str:
    """The end of the log, where the child could not say itself what was wrong."""
    if failure is not None or not log.is_file():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
        lines = stream.read().decode(errors="replace").split("\n")
    tail = [line for line in lines if line.strip()][-LOG_TAIL_LINES:]
    return "".join(f"\n  {line}" for line in tail)


class Channel:
    """The child's way out: events on the real standard output, which nothing else can write to any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last_progress_s = 0.0

    @classmethod
    def open(cls) -> Channel:
        """Take file descriptor 1 for events; what anything prints from now on goes to standard error."""
        stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        sys.stdout.flush()
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        return cls(stream)

    def send(self, event: Mapping[str, object]) -> None:
        """Send one event."""
        self._stream.write(json.dumps(event) + "\n")
        self._stream.flush()

    def progress(self, label: str, done: int, total: int, detail: str = "") -> None:
        """A ``Progress`` that sends events, at most ten a second and always the last."""
        now = time.monotonic()
        if done < total and now - self._last_progress_s < PROGRESS_INTERVAL_S:
            return
        self._last_progress_s = now
        self.send({"event": "progress", "label": label, "done": done, "total": total, "detail": detail})


def serve(
    request_type: type[RequestT], handler: Callable[[RequestT, Progress], Document], arguments: Sequence[str]
) -> int:
    """Answer the one request whose file ``arguments`` names; returns the exit code of the process."""
    channel = Channel.open()
    try:
        request = request_type.read(Path(arguments[0]))
        handler(request, channel.progress).write(Path(request.result))
    except HarnessError as error:
        channel.send({"event": "failed", "message": str(error)})
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - whatever went wrong is the message; the traceback goes to the log
        traceback.print_exc()
        channel.send({"event": "failed", "message": f"{type(error).__name__}: {error}"})
        return EngineFailed.exit_code
    return 0
