"""How a step of this plugin trains: the numbers of the optimiser, for every loss."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness_tinytron.data_options import ReadingStep


class LearningStep(ReadingStep):
    """What all steps share that update weights."""

    optimizer_steps: int = Field(gt=0)
    """Updates of the weights."""
    batch_windows: int = Field(default=32, gt=0)
    """Windows of an optimizer step."""
    micro_batch_windows: int | None = Field(default=None, gt=0)
    """Windows that go through the model at once; all of them if absent."""
    window_tokens: int = Field(default=1024, gt=1)
    """Tokens of a window; documents are packed end to end."""
    learning_rate: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    """At its highest."""
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of the optimizer steps in which the learning rate rises."""
    schedule: Literal["cosine", "stable-decay", "half-life"] = "cosine"
    """How it falls again."""
    decay_fraction: float = Field(default=0.1, ge=0, le=1)
    """Share of the optimizer steps in which a stable rate falls."""
    half_life_steps: float | None = Field(default=None, gt=0)
    """Optimizer steps in which a falling rate halves; a fifth of those in which it falls if absent."""
    batch_doublings: tuple[Annotated[int, Field(gt=0)], ...] = ()
    """Tokens, ascending, after each of which the batch is twice as large."""
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Of matrices; norms and biases never decay."""
    attention_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of attention's probabilities that is dropped in training."""
    hidden_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of what attention and MLP add that is dropped in training."""
    compute: Literal["float32", "bfloat16"] = "bfloat16"
    """Of the passes of student and teacher; trained weights are float32 in either case."""
