"""Several models at once: small ones leave most of a machine idle, so each process takes every n-th of them.

The processes are forked after the libraries were imported, which is most of the work of starting; nothing has been
computed by then. One model is scored by one process from the beginning to the end, with the same seed as it would be
alone, so the scores do not depend on how many processes there are.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import traceback
from typing import TYPE_CHECKING, Any

from .channel import FAILED, Failure, Reported
from .fast import load
from .preparation import seed_everything
from .scoring import score_task

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from .channel import Channel
    from .request import Model, Request
    from .subset import Subset

    Tasks = dict[str, list[Subset]]


def score_models(request: Request, tasks: Tasks, channel: Channel) -> dict[str, dict[str, Any]]:
    """Every model's name with the records of its tasks.

    Raises:
        Failure: a model has no score on a task, or a process died without a word.
        Reported: a forked process failed; its failure went through the channel already.
    """
    if request.processes == 1:
        return {model.name: _score_model(model, request, tasks, channel) for model in request.models}
    shares = [request.models[first :: request.processes] for first in range(request.processes)]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_work, args=(share, request, tasks, channel)) for share in shares if share]
    for process in processes:
        process.start()
    _wait(processes)
    return {model.name: json.loads(_scores_file(request, model).read_text()) for model in request.models}


def _work(share: Sequence[Model], request: Request, tasks: Tasks, channel: Channel) -> None:
    """The life of a forked process: score ``share``, leave a file for each model."""
    try:
        for model in share:
            scores = _score_model(model, request, tasks, channel)
            _scores_file(request, model).write_text(json.dumps(scores, allow_nan=False))
    except Failure as failure:
        channel.failure(str(failure))
        sys.exit(FAILED)
    except Exception:  # noqa: BLE001 - whatever it is belongs into the log, and the parent must hear of it
        traceback.print_exc()
        sys.exit(1)


def _wait(processes: Sequence[BaseProcess]) -> None:
    """Until all are through; the first that fails ends the others."""
    try:
        for process in processes:
            process.join()
            if process.exitcode == FAILED:
                raise Reported
            if process.exitcode:
                raise Failure(f"a scoring process ended with {process.exitcode}")
    finally:
        for process in processes:
            process.kill()
            process.join()


def _score_model(model: Model, request: Request, tasks: Tasks, channel: Channel) -> dict[str, Any]:
    seed_everything(request.seed, request.threads)
    loaded = load(model, request)
    return {task: score_task(model, loaded, subsets, request, channel) for task, subsets in tasks.items()}


def _scores_file(request: Request, model: Model) -> Path:
    return request.work_dir / f"scores-{model.name}.json"
