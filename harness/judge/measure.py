"""The judge's host side: ask a fresh process, contained, and return what it measured. No torch in this process."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.channel import call
from harness.errors import MeasurementFailed
from harness.judge.cap import Watchdog
from harness.judge.memory import over_the_cap
from harness.judge.requests import (
    BitsPerByteAnswer,
    BitsPerByteRequest,
    FloorAnswer,
    FloorRequest,
    JudgeRequest,
    KitRequest,
    PerformanceRequest,
    Precision,
    Runtime,
)
from harness.judge.results import BitsPerByte, KitForward, Performance

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


def measure_performance(  # noqa: PLR0913 - what is measured, and where, named at the call
    model: Path,
    *,
    rule: MeasurementRule,
    surroundings: Surroundings,
    precision: Precision = "checkpoint",
    runtime: Runtime = "transformers",
    memory_limit_bytes: int | None = None,
) -> Performance:
    """Speed and peak memory of one model, in a fresh process that does nothing else.

    Args:
        model: What ``runtime`` loads: a checkpoint for ``transformers``, a package for ``executorch``.
        rule: The edition's protocol: tokens and repeats.
        surroundings: Where, and within which limits.
        precision: Of weights and arithmetic, under ``transformers``; the checkpoint's own unless a comparison asks
            otherwise. A package has the precision that it was exported in.
        runtime: What runs the model.
        memory_limit_bytes: Cap of resident memory (of reserved memory on a GPU); enforced, and a run above it fails.

    Raises:
        MeasurementFailed: with the process's own words or the end of its log; of a broken cap, what was needed.
    """
    measurement = PerformanceRequest(
        runtime=runtime,
        checkpoint=str(model.resolve()),
        prefill_tokens=rule.prefill_tokens,
        decode_tokens=rule.decode_tokens,
        repeats=rule.repeats,
        precision=precision,
        device=surroundings.device,
        threads=_threads(surroundings),
        memory_limit_bytes=memory_limit_bytes,
    )
    what = f"speed and memory of {model.name}"
    if memory_limit_bytes is None:
        return _ask(measurement, Performance, surroundings, what)
    return _ask_capped(measurement, memory_limit_bytes, surroundings, what)


def measure_kit(
    checkpoint: Path, *, repeats: int, surroundings: Surroundings, precision: Precision = "checkpoint"
) -> KitForward:
    """The competition kit's own figure of one checkpoint, under ``transformers``, in a process of its own.

    Raises:
        MeasurementFailed: with the process's own words or the end of its log.
    """
    measurement = KitRequest(
        checkpoint=str(checkpoint.resolve()),
        repeats=repeats,
        precision=precision,
        device=surroundings.device,
        threads=_threads(surroundings),
    )
    return _ask(measurement, KitForward, surroundings, f"the kit's protocol on {checkpoint.name}")


def measure_floor(
    model: Path, *, runtime: Runtime, surroundings: Surroundings, precision: Precision = "checkpoint"
) -> FloorAnswer:
    """What ``runtime`` takes on this machine before it sees a weight of ``model``: a prediction's one measured part.

    Raises:
        MeasurementFailed: with the process's own words or the end of its log.
    """
    measurement = FloorRequest(
        runtime=runtime,
        checkpoint=str(model.resolve()),
        precision=precision,
        device=surroundings.device,
        threads=_threads(surroundings),
    )
    return _ask(measurement, FloorAnswer, surroundings, f"memory of {runtime} alone")


def _ask_capped(
    measurement: PerformanceRequest, limit_bytes: int, surroundings: Surroundings, what: str
) -> Performance:
    """As ``_ask`` under a cap; a failure says that there was one, for it may come from a refused allocation."""
    with Watchdog(limit_bytes, surroundings.on_event) as watchdog:
        # A GPU's cap is held by torch's allocator: the process's own memory is another matter, and not watched.
        on_event = surroundings.on_event if surroundings.device.startswith("cuda") else watchdog.on_event
        try:
            return _ask(measurement, Performance, replace(surroundings, on_event=on_event), what)
        except MeasurementFailed as error:
            if watchdog.killed_at_bytes is not None:
                said = over_the_cap(watchdog.killed_at_bytes, limit_bytes)
                raise MeasurementFailed(f"{what}: {said}") from error
            raise MeasurementFailed(f"{error}\n  under a cap of {limit_bytes / 1e6:.1f} MB of memory") from error


def _ask(
    measurement: BitsPerByteRequest | PerformanceRequest | KitRequest | FloorRequest,
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
