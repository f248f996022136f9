"""What every recovery of a student needs: its windows, packed once, and the step's numbers as settings of the training.

A step is known by what it says, not by its class: each plugin declares its own with its own defaults, and all of them
are read here alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from harness.corpora.encoding import tokenizer_of
from harness.corpora.windows import LossOn, Windows, pack
from harness.methods.training_settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.checkpoint.checkpoint import Checkpoint
    from harness.corpora.door import DataDoor
    from harness.progress import Progress

STATE_EVERY_S = 10.0
"""Seconds of work that a kill may cost."""


class RecoveryNumbers(Protocol):
    """A step that trains."""

    @property
    def optimizer_steps(self) -> int:
        """Updates of the weights."""

    @property
    def batch_windows(self) -> int:
        """Windows of an optimizer step."""

    @property
    def micro_batch_windows(self) -> int | None:
        """Windows that go through the model at once; None for all of them."""

    @property
    def learning_rate(self) -> float:
        """At its highest."""

    @property
    def warmup_fraction(self) -> float:
        """Share of the optimizer steps in which the learning rate rises."""

    @property
    def compute(self) -> Literal["float32", "bfloat16"]:
        """Of the forward and backward pass."""


class PackedText(Protocol):
    """A step that reads windows of text."""

    @property
    def optimizer_steps(self) -> int:
        """Updates of the weights."""

    @property
    def batch_windows(self) -> int:
        """Windows of an optimizer step."""

    @property
    def window_tokens(self) -> int:
        """Tokens of a window."""

    @property
    def mixture(self) -> Mapping[str, float]:
        """Data sets and their shares of the tokens."""

    @property
    def loss_on(self) -> LossOn:
        """Tokens that are learnt from."""


class AskedStep(Protocol):
    """What of a request the windows come from; ``harness.TrainRequest`` is one."""

    @property
    def student(self) -> Checkpoint:
        """Its tokenizer is the windows'."""

    @property
    def step(self) -> PackedText:
        """How many windows, and of what."""

    @property
    def data(self) -> DataDoor:
        """Where the text comes from."""

    @property
    def workdir(self) -> Path:
        """The windows are kept here, in ``windows``."""

    @property
    def seed(self) -> int:
        """Of the order in which the data sets take turns."""

    @property
    def progress(self) -> Progress:
        """Told the windows packed so far."""


def recovery_windows(request: AskedStep, *, window_count: int | None = None) -> Windows:
    """The windows that the step trains on, each used once; packed the first time, opened after a kill.

    Args:
        request: The step, and where it is carried out.
        window_count: How many, where that is not ``optimizer_steps * batch_windows``.
    """
    step = request.step
    return pack(
        request.data,
        step.mixture,
        tokenizer_of(request.student.path),
        window_tokens=step.window_tokens,
        window_count=step.optimizer_steps * step.batch_windows if window_count is None else window_count,
        seed=request.seed,
        path=request.workdir / "windows",
        progress=request.progress,
        loss_on=step.loss_on,
    )


def recovery_settings(
    step: RecoveryNumbers, *, weight_decay: float = 0.0, gradient_clip: float = 1.0
) -> TrainingSettings:
    """The step in the words of the training: warm-up, then cosine, a state every ``STATE_EVERY_S``.

    Args:
        step: The numbers that every recovery has.
        weight_decay: Of matrices, where the step has one.
        gradient_clip: Largest norm of the gradient, likewise.
    """
    return TrainingSettings(
        optimizer_steps=step.optimizer_steps,
        batch_windows=step.batch_windows,
        micro_batch_windows=step.micro_batch_windows,
        learning_rate=step.learning_rate,
        warmup_count=round(step.warmup_fraction * step.optimizer_steps),
        weight_decay=weight_decay,
        gradient_clip=gradient_clip,
        compute=step.compute,
        checkpoint_every_s=STATE_EVERY_S,
    )
