"""The trainer of the pico models: one thread, one stream, warm-up, stable rate, linear fall (WSD).

    rate  peak |   ______________
               |  /              `        warm-up steps are fixed, the fall is a share of all steps, so two schedules
             0 |_/________________`__     of different length are the same run until the shorter one begins to fall

MiniCPM (arXiv 2404.06395, section 4) describes the schedule.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from harness.pico.vocabulary import PAD

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    from harness.pico.windows import Windows

_BETAS = (0.9, 0.95)
_WEIGHT_DECAY = 0.1
_CLIP_NORM = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Steps of a training run and its learning rate."""

    steps: int
    batch_size: int = 16
    peak_rate: float = 3e-3
    warmup_steps: int = 50
    fall_share: float = 0.25
    asked_weight: float = 0.3

    @property
    def fall_start(self) -> int:
        """The first step at which the learning rate falls."""
        return self.steps - round(self.steps * self.fall_share)

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        warm = min(1.0, (step + 1) / self.warmup_steps)
        fall = min(1.0, (self.steps - step) / max(1, self.steps - self.fall_start))
        return self.peak_rate * warm * fall


class Trainer:
    """A model, its optimizer and the step it has reached; deterministic on one thread."""

    def __init__(self, model: PreTrainedModel, windows: Windows) -> None:
        self.model = model
        self.step = 0
        self._tokens = torch.from_numpy(windows.tokens.astype("int64"))
        self._asked = torch.from_numpy(windows.asked)
        self._optimizer = torch.optim.AdamW(_groups(model), lr=0.0, betas=_BETAS, fused=True)

    def run(self, schedule: Schedule, *, until: int, on_step: Callable[[int, float], None] | None = None) -> None:
        """Train to step `until` of a schedule; `on_step` gets the steps done and the loss in nats a token."""
        while self.step < until:
            loss = self._one(schedule)
            self.step += 1
            if on_step is not None:
                on_step(self.step, loss)

    def snapshot(self) -> dict[str, Any]:
        """A copy of everything that `restore` needs to go on from here."""
        state = {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict(), "step": self.step}
        return copy.deepcopy(state)

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a snapshot of this trainer."""
        state = copy.deepcopy(state)
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def _one(self, schedule: Schedule) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = schedule.rate(self.step)
        # A stream shorter than the run is read again from its start.
        rows = torch.arange(self.step * schedule.batch_size, (self.step + 1) * schedule.batch_size) % len(self._tokens)
        tokens, asked = self._tokens[rows], self._asked[rows]
        self._optimizer.zero_grad(set_to_none=True)
        loss = _loss(self.model, tokens, asked, asked_weight=schedule.asked_weight)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), _CLIP_NORM)
        self._optimizer.step()
        return float(loss.detach())


def _loss(model: PreTrainedModel, tokens: torch.Tensor, asked: torch.Tensor, *, asked_weight: float) -> torch.Tensor:
    """Weighted mean cross-entropy in nats; tokens [batch, length + 1], asked the same shape."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(input_ids=tokens[:, :-1], use_cache=False).logits
    losses = functional.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten(), reduction="none")
    weights = 1.0 - (1.0 - asked_weight) * asked[:, 1:].flatten().float()
    weights = weights * (tokens[:, 1:] != PAD).flatten()
    return (losses * weights).sum() / weights.sum()


def _groups(model: PreTrainedModel) -> list[dict[str, object]]:
    """Matrices decay; norms and biases do not."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": _WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}]
