"""Entries to rank: in memory with drawn items, and as bundles on disk that validate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from harness.ranking.entrant import Entrant, Items, Number, Source
from harness.rules.edition import load_edition
from harness.submission import bundle as bundles
from harness.submission.items import pack
from harness.submission.mean import mean_scores
from harness.submission.measurements import ItemRecord
from tests.validation.make import true_bundle

if TYPE_CHECKING:
    from pathlib import Path

EDITION = load_edition("neurips-2024")
TASKS = tuple(EDITION.tasks)
ITEM_COUNT = 40
"""Of each task of a bundle."""


def number(value: float, unit: str = "of 100") -> Number:
    return Number(value=value, unit=unit, sources=(Source(entry="e", file="f", field="x"),))


def entrant(name: str, scores=(), *, team: str | None = None, throughput=None, peak=None, **more) -> Entrant:
    """An entry with the ``scores`` of the first tasks, in the edition's scale; None for an absent one."""
    stated = {task: number(score) for task, score in zip(TASKS, scores, strict=False) if score is not None}
    return Entrant(
        name=name,
        team=team or f"team of {name}",
        kind="bundle",
        scores=stated,
        throughput=None if throughput is None else number(throughput, "tokens/s"),
        peak_memory=None if peak is None else number(peak, "bytes"),
        **more,
    )


def items(right, *, subsets=None, counted=None, key="items") -> Items:
    """Items from rows of answers, one row a model."""
    rows = np.atleast_2d(np.array(right, dtype=np.uint8))
    return Items(
        key=key,
        subset_sizes=subsets or (rows.shape[1],),
        right=rows,
        counted=np.ones(rows.shape, dtype=bool) if counted is None else np.atleast_2d(np.array(counted, dtype=bool)),
    )


def with_items(name: str, right_by_task, **more) -> Entrant:
    """An entry whose scores are those of its items."""
    scores = {t: float(np.mean(right)) * EDITION.tasks[t].scale for t, right in right_by_task.items()}
    plain = entrant(name, **more)
    return replace(
        plain,
        scores={task: number(score) for task, score in scores.items()},
        items={task: items(right) for task, right in right_by_task.items()},
        item_counts={task: np.atleast_2d(right).shape[1] for task, right in right_by_task.items()},
    )


def file_bundle(folder: Path, team: str, *, seed: int, share: float, speed: float = 100.0, weights: Path) -> Path:
    """A demo bundle of ``team`` under ``folder``: every final answer right with the chance ``share``, items filed."""
    bundle = true_bundle(weights)
    generator = np.random.default_rng(seed)
    answers, models = {}, []
    for model in bundle.submission.models:
        results = []
        for result in model.checkpoints:
            if result.role == "final":
                result = drawn(result, generator, share, speed, answers)  # noqa: PLW2901
            results.append(result)
        models.append(model.model_copy(update={"checkpoints": tuple(results)}))
    submission = bundle.submission.model_copy(
        update={
            "id": f"2026-11-22-{team}-baseline-l1",
            "team": team,
            "models": tuple(models),
            "mean": mean_scores(models),
        }
    )
    filed = bundles.with_items(replace(bundle, submission=submission), lambda digest, task: answers.get((digest, task)))
    return bundles.write(filed, folder / submission.id)


def drawn(result, generator, share: float, speed: float, answers: dict):
    """The checkpoint with drawn answers to every task, and another speed."""
    measured, scores = result.measurements, []
    for score in measured.evaluation.tasks:
        right = generator.random(ITEM_COUNT) < share
        scores.append(score.model_copy(update={"score": score.scale * right.sum() / ITEM_COUNT}))
        answers[result.checkpoint.checkpoint_digest, score.task] = pack(
            [record(score.task, place, correct=bool(one)) for place, one in enumerate(right)]
        )
    speeds = {"decode_tokens_per_s": speed, "decode_tokens_per_s_samples": (speed * 0.99, speed, speed * 1.01)}
    update = {
        "evaluation": measured.evaluation.model_copy(update={"tasks": tuple(scores)}),
        "performance": measured.performance.model_copy(update=speeds),
    }
    return result.model_copy(update={"measurements": measured.model_copy(update=update)})


def record(task: str, index: int, *, correct: bool | None) -> ItemRecord:
    return ItemRecord(subset=task, index=index, prediction="42", extracted="42", reference=str(index), correct=correct)
