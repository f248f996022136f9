"""How to train: the numbers of a training, and what follows from them for each optimizer step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.methods.batches import batch_span
from harness.methods.schedule import warmup_cosine, warmup_stable_decay, warmup_stable_half_life

if TYPE_CHECKING:
    from harness.corpora.windows import Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How to train; the defaults are those of small recoveries."""

    optimizer_steps: int
    batch_windows: int
    """Windows of an optimizer step, over all processes and micro-batches."""
    learning_rate: float
    """At its highest."""
    micro_batch_windows: int | None = None
    """Windows that go through the model at once; None for all of a process's part."""
    schedule: Literal["cosine", "stable-decay", "half-life"] = "cosine"
    warmup_count: int = 0
    """Optimizer steps of rising rate."""
    decay_fraction: float = 0.2
    """Share of the optimizer steps in which a ``stable-decay`` or ``half-life`` rate falls."""
    half_life_count: float | None = None
    """Optimizer steps in which a falling ``half-life`` rate halves; None for a fifth of those in which it falls."""
    batch_doublings: tuple[int, ...] = ()
    """Tokens, ascending, after each of which a step takes twice as many windows; the rate stays."""
    in_order: bool = False
    """Whether windows are taken as they were packed, for a curriculum; else each pass has an order of its own."""
    rate_factors: tuple[tuple[str, float], ...] = ()
    """Beginnings of parameters' names and what the rate is multiplied by for these; the first that fits counts."""
    floor_fraction: float = 0.0
    """The last rate, as a share of the highest."""
    weight_decay: float = 0.0
    """Of matrices; norms and biases never decay."""
    betas: tuple[float, float] = (0.9, 0.95)
    gradient_clip: float = 1.0
    """Largest norm of the gradient; infinity for no clipping."""
    compute: Literal["float32", "bfloat16"] = "float32"
    """Of the forward and backward pass; the trained weights are float32 in either case."""
    checkpoint_every_s: float = 30.0
    """Seconds between two states."""
    checkpoint_every_steps: int | None = None
    """Optimizer steps between two states, besides."""


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """The rate of optimizer step ``step``, counted from 0."""
    if settings.schedule == "cosine":
        return warmup_cosine(
            step,
            peak=settings.learning_rate,
            step_count=settings.optimizer_steps,
            warmup_count=settings.warmup_count,
            floor_fraction=settings.floor_fraction,
        )
    decay_count = round(settings.decay_fraction * settings.optimizer_steps)
    if settings.schedule == "half-life":
        return warmup_stable_half_life(
            step,
            peak=settings.learning_rate,
            warmup_count=settings.warmup_count,
            decay_start=settings.optimizer_steps - decay_count,
            half_life_count=settings.half_life_count or max(1.0, decay_count / 5),
        )
    return warmup_stable_decay(
        step,
        peak=settings.learning_rate,
        step_count=settings.optimizer_steps,
        warmup_count=settings.warmup_count,
        decay_count=decay_count,
        floor_fraction=settings.floor_fraction,
    )


def tokens_before(settings: TrainingSettings, windows: Windows, step: int) -> int:
    """Tokens that go through the model in the first ``step`` optimizer steps."""
    span = batch_span(step, batch_windows=settings.batch_windows, doublings=doublings(settings, windows))
    return span.start * int(windows.token_ids.shape[1])


def doublings(settings: TrainingSettings, windows: Windows) -> tuple[int, ...]:
    """The thresholds of ``batch_doublings``, in windows."""
    return tuple(-(-tokens // int(windows.token_ids.shape[1])) for tokens in settings.batch_doublings)
