"""The judge's host side: ask a fresh process, contained, and return what it measured. No torch in this process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.channel import call
from harness.errors import MeasurementFailed
from harness.judge.requests import (
    BitsPerByteAnswer,
    BitsPerByteRequest,
    JudgeRequest,
    PerformanceRequest,
    Precision,
)
from harness.judge.results import BitsPerByte, Performance

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness.channel import AnswerT
    from harness.containment import Event, Limits
    from harness.rules.edition import MeasurementRule

WORKER = "harness.judge.worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where a measurement runs and what it may use."""

    work_dir: Path
    """Made if absent; request, log and result stay in it."""
    limits: Limits
    on_event: Callable[[Event], None]
    device: str = "cpu"
    threads: int | None = None
    """None: as many as this process may use."""


def measure_bits_per_byte(
    checkpoints: Sequence[Path], texts: Path, *, window_tokens: int, surroundings: Surroundings
) -> tuple[BitsPerByte, ...]:
    """Bits per byte of every checkpoint on the same texts, in one fresh process.

    Args:
        checkpoints: Folders in Hugging Face's layout.
        texts: JSON lines file whose rows have a field ``text``.
        window_tokens: Context that a token may see.
        surroundings: Where, and within which limits.

    Raises:
        MeasurementFailed: with the process's own words or the end of its log.
    """
    measurement = BitsPerByteRequest(
        checkpoints=tuple(str(path.resolve()) for path in checkpoints),
        texts=str(texts.resolve()),
        window_tokens=window_tokens,
        device=surroundings.device,
        threads=_threads(surroundings),
    )
    return _ask(measurement, BitsPerByteAnswer, surroundings, "bits per byte").figures


def measure_performance(
    checkpoint: Path, *, rule: MeasurementRule, surroundings: Surroundings, precision: Precision = "checkpoint"
) -> Performance:
    """Speed and peak memory of one checkpoint, in a fresh process that does nothing else.

    Args:
        checkpoint: Folder in Hugging Face's layout.
        rule: The edition's protocol: tokens and repeats.
        surroundings: Where, and within which limits.
        precision: Of weights and arithmetic; the checkpoint's own unless a comparison asks otherwise.

    Raises:
        MeasurementFailed: with the process's own words or the end of its log.
    """
    measurement = PerformanceRequest(
        checkpoint=str(checkpoint.resolve()),
        prefill_tokens=rule.prefill_tokens,
        decode_tokens=rule.decode_tokens,
        repeats=rule.repeats,
        precision=precision,
        device=surroundings.device,
        threads=_threads(surroundings),
    )
    return _ask(measurement, Performance, surroundings, f"speed and memory of {checkpoint.name}")


def _ask(
    measurement: BitsPerByteRequest | PerformanceRequest,
    answer: type[AnswerT],
    surroundings: Surroundings,
    what: str,
) -> AnswerT:
    work_dir = surroundings.work_dir.resolve()
    return call(
        WORKER,
        JudgeRequest(result=str(work_dir / "result.json"), measurement=measurement),
        answer,
        what=what,
        failed=MeasurementFailed,
        limits=surroundings.limits,
        work_dir=work_dir,
        on_event=surroundings.on_event,
        environment={"OMP_NUM_THREADS": str(measurement.threads)},
    )


def _threads(surroundings: Surroundings) -> int:
    return surroundings.threads or len(os.sched_getaffinity(0))
