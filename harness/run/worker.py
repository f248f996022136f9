"""The worker: one hook of one plugin, in a process of its own (``python -m harness.run.worker REQUEST RESPONSE``).

Standard output carries events, one JSON object a line; everything that the plugin prints goes to the log.
"""

from __future__ import annotations

import resource
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from harness.channel import Channel
from harness.errors import HarnessError
from harness.run.calls import CALLS
from harness.run.loading import OptionsRefused, load_plugin
from harness.run.protocol import FailureKind, WorkerFailure, WorkerRequest, WorkerResponse

if TYPE_CHECKING:
    from harness.progress import Progress

HEADROOM_BYTES = 1 << 30
"""The kernel's own limit on private memory lies above the watched one: it only stops a single absurd allocation."""


def main(arguments: list[str]) -> int:
    """Answer the request in the file ``arguments[0]`` into the file ``arguments[1]``."""
    request = WorkerRequest.read(Path(arguments[0]))
    channel = Channel.open()
    _limit_memory(request)
    _answer(request, channel.progress).write(Path(arguments[1]))
    return 0


def _answer(request: WorkerRequest, progress: Progress) -> WorkerResponse:
    try:
        manager = load_plugin(request.plugin, request.module, request.distribution)
        return CALLS[request.operation](manager, request, progress)
    except OptionsRefused as refusal:
        return WorkerResponse(failure=WorkerFailure(kind="options", message=str(refusal), problems=refusal.problems))
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises is reported by the host, with its traceback
        return WorkerResponse(failure=_failure(error))


KINDS: tuple[tuple[type[Exception], FailureKind], ...] = (
    (HarnessError, "harness"),
    (MemoryError, "memory"),
    (Exception, "raised"),
)


def _failure(error: Exception) -> WorkerFailure:
    sys.stderr.write(traceback.format_exc())
    kind = next(name for raised, name in KINDS if isinstance(error, raised))
    message = str(error) if kind == "harness" else f"{type(error).__name__}: {error}"
    return WorkerFailure(kind=kind, message=message, error=type(error).__name__)


def _limit_memory(request: WorkerRequest) -> None:
    if request.device == "cpu":
        ceiling = request.memory_limit_bytes + HEADROOM_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (ceiling, ceiling))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
