"""All figures of one model on this machine: floor, prediction, measurement, and the kit's figure, a process each.

subject ── runtime? ──> executorch where it is a package for it     ── floor process ──> prediction
                        transformers otherwise, and it is said why  ── capped process ──> speed, peak memory
                                                                    ── kit's process ──> inferences/s
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from harness.errors import UsageError
from harness.judge.measure import measure_floor, measure_kit, measure_performance
from harness.judge.measurement import HostMeasurement, speeds_of
from harness.judge.prediction import STORED, Load, predict
from harness.judge.runtimes import EDGE, edge_absence

if TYPE_CHECKING:
    from harness.judge.measure import Surroundings
    from harness.judge.prediction import MemoryPrediction
    from harness.judge.requests import Precision, Runtime
    from harness.judge.subject import Subject
    from harness.rules.edition import MeasurementRule

WAY_TO_EDGE: Final = "harness deploy MODEL --target executorch --out FOLDER, then harness measure FOLDER"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """What is measured, and under which cap."""

    rule: MeasurementRule
    precision: Precision = "checkpoint"
    memory_limit_bytes: int | None = None
    kit_repeats: int = 0
    """Of the kit's own protocol; 0: it is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The runtime that a subject is measured with, and why."""

    runtime: Runtime
    why: str


def choose_runtime(subject: Subject, asked: Runtime | None) -> Choice:
    """The runtime that was asked for, or the one that ``subject`` is for.

    Raises:
        UsageError: ``subject`` is nothing that the asked runtime loads, or it is for the edge runtime, which is absent.
    """
    if subject.edge is not None:
        if asked == "transformers":
            raise UsageError(
                f"{subject.folder}: is a package for {EDGE}; transformers loads the checkpoint it was made of"
            )
        if (absence := edge_absence()) is not None:
            raise UsageError(f"{subject.folder}: is a package for {EDGE}, and {absence}")
        return Choice(runtime="executorch", why="the model is a package for it")
    if asked == "executorch":
        raise UsageError(f"{subject.folder}: {EDGE} runs packages, this is a checkpoint; {WAY_TO_EDGE}")
    absence = edge_absence()
    way = f"the edge runtime needs a package: {WAY_TO_EDGE}" if absence is None else absence
    return Choice(runtime="transformers", why=f"the model is a checkpoint; {way}")


def measure_on_host(
    subject: Subject, plan: HostPlan, surroundings: Surroundings, runtime: Runtime | None = None
) -> HostMeasurement:
    """Predict, measure under the cap, and take the kit's figure, each in a fresh process.

    Raises:
        UsageError: as ``choose_runtime``.
        MeasurementFailed: a process failed or its cap was reached; then there is no figure at all.
    """
    choice = choose_runtime(subject, runtime)
    predicted = predict_for(subject, choice.runtime, plan, surroundings)
    performance = measure_performance(
        subject.folder,
        rule=plan.rule,
        surroundings=_apart(surroundings, "speed"),
        precision=plan.precision,
        runtime=choice.runtime,
        memory_limit_bytes=plan.memory_limit_bytes,
    )
    kit = None
    if plan.kit_repeats and subject.edge is None:
        around = _apart(surroundings, "kit")
        kit = measure_kit(subject.folder, repeats=plan.kit_repeats, surroundings=around, precision=plan.precision)
    return HostMeasurement(
        model=subject.name,
        runtime=choice.runtime,
        why_this_runtime=choice.why,
        weights_digest=subject.weights_digest,
        checkpoint_digest=subject.checkpoint_digest,
        performance=performance,
        speeds=speeds_of(performance),
        predicted=predicted,
        predicted_over_measured=predicted.total_bytes / performance.host_peak_memory_bytes if predicted else None,
        memory_limit_bytes=plan.memory_limit_bytes,
        kit=kit,
    )


def predict_for(
    subject: Subject, runtime: Runtime, plan: HostPlan, surroundings: Surroundings
) -> MemoryPrediction | None:
    """What measuring ``subject`` will take; none where its configuration is not at hand, and none on a GPU.

    Raises:
        MeasurementFailed: the runtime cannot be started.
        UsageError: there is no anatomy for the configuration.
    """
    if subject.config is None or surroundings.device != "cpu":
        return None
    around = _apart(surroundings, "floor")
    floor = measure_floor(subject.folder, runtime=runtime, surroundings=around, precision=plan.precision)
    return predict(subject.config, load_of(subject, runtime, plan), runtime_bytes=floor.resident_bytes)


def load_of(subject: Subject, runtime: Runtime, plan: HostPlan) -> Load:
    """How ``subject`` will be run: a package says so itself."""
    config, stored = subject.config or {}, "float32"
    if (said := str(config.get("dtype") or config.get("torch_dtype"))) in STORED:
        stored = said
    if subject.edge is not None:
        return Load(
            runtime=runtime,
            dtype=subject.edge.dtype,
            stored_dtype=subject.edge.dtype,
            context_tokens=subject.edge.context_tokens,
            chunk_tokens=min(subject.edge.prefill_chunk, plan.rule.prefill_tokens),
        )
    return Load(
        runtime=runtime,
        dtype=stored if plan.precision == "checkpoint" else plan.precision,
        stored_dtype=stored,
        context_tokens=plan.rule.prefill_tokens + plan.rule.decode_tokens,
        chunk_tokens=plan.rule.prefill_tokens,
    )


def _apart(surroundings: Surroundings, name: str) -> Surroundings:
    """A folder of its own for each process: its log stays beside its request."""
    return replace(surroundings, work_dir=surroundings.work_dir / name)
