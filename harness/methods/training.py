"""Training: one loop for recovery, fine-tuning and distillation, resumable to the same bits.

    for each optimizer step s:                                            all of it a function of (seed, s) and the
        rate(s); windows(seed, s); dropout(seed, s)                       weights, so that a state is weights, moments
        loss over micro-batches -> gradients -> clip -> AdamW             and s: kill it anywhere, run it again, and the
        every so often: state, whole or not at all                        end is the same, bit for bit, on one CPU

Exactness holds for the same number of threads and processes and the same versions; on a GPU as far as its kernels are
deterministic. The loop runs on Accelerate: started by ``torchrun`` or ``accelerate launch`` it spreads over processes,
each taking its part of every batch.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch.nn import functional

from harness.document import digest_of
from harness.errors import MeasurementFailed
from harness.methods.batches import IGNORE_INDEX, Batch, batch_order, derived_seed, label_count, read_batch
from harness.methods.history import History, StepRecord
from harness.methods.training_settings import TrainingSettings, doublings, learning_rate, tokens_before
from harness.methods.training_state import gather, read_state, restore, write_state
from harness.progress import silent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from pydantic import JsonValue
    from torch import nn

    from harness.corpora.windows import Windows
    from harness.progress import Progress

__all__ = ["Loss", "TrainingSettings", "causal_lm_loss", "learning_rate", "train"]


class Loss(Protocol):
    """What is minimised."""

    def __call__(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """A scalar: the mean over the tokens of ``batch`` whose label, one place on, is not IGNORE_INDEX."""


def causal_lm_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Mean negative log-likelihood of the next token, nats/token, in float32."""
    logits = model(input_ids=batch.token_ids, use_cache=False).logits[:, :-1]
    labels = batch.labels[:, 1:].flatten()
    total = functional.cross_entropy(logits.flatten(0, 1).float(), labels, ignore_index=IGNORE_INDEX, reduction="sum")
    return total / (labels != IGNORE_INDEX).sum().clamp(min=1)


def train(  # noqa: PLR0913 - the request of a library function, all but the first three by name
    model: nn.Module,
    windows: Windows,
    settings: TrainingSettings,
    *,
    state: Path,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = silent,
    loss: Loss = causal_lm_loss,
    after_step: Callable[[nn.Module], None] | None = None,
) -> History:
    """Train the parameters of ``model`` that require gradients, in place, going on from what stands in ``state``.

    Args:
        model: Trainable parameters in float32; frozen ones in any dtype. Left in evaluation mode.
        windows: From ``harness.corpora.windows.pack``.
        settings: How to train.
        state: Folder of this training alone, best in a step's workdir, where its state is kept and found again.
        device: ``cpu``, ``cuda`` or ``cuda:N``; under ``torchrun`` each process takes its own.
        seed: Of the batch order and of dropout.
        progress: Told every optimizer step.
        loss: What is minimised.
        after_step: Called with ``model`` after every optimizer step, before a state is written: to put weights back on
            the surface that they belong to.

    Raises:
        MeasurementFailed: the loss or its gradient is not finite; the message names the optimizer step.
        CheckpointCorrupt: the state cannot be read.
        ValueError: nothing to train, half-precision master weights, or a state of another training.
    """
    _check(model, windows, settings)
    run = _Run(model, windows, settings, device=device, seed=seed, loss=loss, after_step=after_step)
    with torch.random.fork_rng(devices=[run.accelerator.device] if run.accelerator.device.type == "cuda" else []):
        history = run.through(state, progress)
    model.eval()
    return History(steps=tuple(history), token_count=tokens_before(settings, windows, len(history)))


class _Run:
    """Everything that lives as long as the training."""

    def __init__(  # noqa: PLR0913
        self,
        model: nn.Module,
        windows: Windows,
        settings: TrainingSettings,
        *,
        device: str,
        seed: int,
        loss: Loss,
        after_step: Callable[[nn.Module], None] | None,
    ) -> None:
        if device.startswith("cuda:"):
            torch.cuda.set_device(device)
        # Precision is the loop's own (autocast below): Accelerate's is one for the whole process, for good.
        self.accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no")
        self.windows, self.settings, self.seed, self.loss = windows, settings, seed, loss
        self.bare, self.after_step = model, after_step
        self.key = _key(model, windows, settings, seed=seed, process_count=self.accelerator.num_processes)
        optimizer = torch.optim.AdamW(_groups(model, settings), betas=settings.betas, fused=True)
        self.model, wrapped = self.accelerator.prepare(model, optimizer)
        self.optimizer: torch.optim.Optimizer = wrapped.optimizer
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def through(self, folder: Path, progress: Progress) -> list[StepRecord]:
        """All optimizer steps that are not done yet, with a state in ``folder`` every so often."""
        standing = read_state(folder, key=self.key)
        history = [] if standing is None else standing.history
        if standing is not None:
            restore(standing, self.model, self.optimizer)
        self.model.train()
        written = time.monotonic()
        for step in range(len(history), self.settings.optimizer_steps):
            history.append(self._step(step))
            self._report(progress, history)
            if self._is_due(step + 1, time.monotonic() - written):
                self._write(folder, history)
                written = time.monotonic()
        return history

    def _step(self, step: int) -> StepRecord:
        accelerator, rate = self.accelerator, learning_rate(self.settings, step)
        torch.manual_seed(derived_seed("dropout", self.seed, step, accelerator.process_index))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate_factor"]
        loss = self._gradients(step)
        norm = accelerator.clip_grad_norm_(self.parameters, self.settings.gradient_clip)
        values = torch.stack([accelerator.reduce(loss, "sum").double(), _whole(norm).double()])
        record = StepRecord(**dict(zip(("loss", "gradient_norm"), values.tolist(), strict=True)), learning_rate=rate)
        _check_finite(record, step)
        self.optimizer.step()
        if self.after_step is not None:
            self.after_step(self.bare)
        self.optimizer.zero_grad(set_to_none=True)
        return record

    def _gradients(self, step: int) -> torch.Tensor:
        """Gradients of the batch's mean loss; returns this process's part of that mean."""
        indices = batch_order(
            step,
            window_count=len(self.windows),
            batch_windows=self.settings.batch_windows,
            seed=self.seed,
            doublings=doublings(self.settings, self.windows),
            in_order=self.settings.in_order,
        )
        labels = max(1, label_count(self.windows, indices))
        pieces = self._pieces(indices)
        total = torch.zeros((), device=self.accelerator.device)
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                share = self._forward(piece, step) * (label_count(self.windows, piece) / labels)
                # Processes' gradients are averaged, and shares are to be added.
                self.accelerator.backward(share * self.accelerator.num_processes)
            total += share.detach()
        return total

    def _pieces(self, indices: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        mine = indices[self.accelerator.process_index :: self.accelerator.num_processes]
        size = self.settings.micro_batch_windows or len(mine)
        return [mine[start : start + size] for start in range(0, len(mine), size)]

    def _forward(self, indices: NDArray[np.int64], step: int) -> torch.Tensor:
        device = self.accelerator.device
        batch = read_batch(self.windows, indices, device, step=step)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.settings.compute == "bfloat16"):
            return self.loss(self.model, batch)

    def _is_due(self, done: int, waited_s: float) -> bool:
        every = self.settings.checkpoint_every_steps
        due = waited_s >= self.settings.checkpoint_every_s or (every is not None and done % every == 0)
        due = due or done == self.settings.optimizer_steps
        if self.accelerator.num_processes == 1:
            return due
        # Clocks differ, and a state is gathered by all processes or by none.
        return bool(broadcast_object_list([due])[0])

    def _write(self, folder: Path, history: list[StepRecord]) -> None:
        tensors = gather(self.model, self.optimizer, history)
        if tensors is not None:
            write_state(folder, tensors, key=self.key)
        self.accelerator.wait_for_everyone()

    def _report(self, progress: Progress, history: list[StepRecord]) -> None:
        if self.accelerator.is_main_process:
            progress("training", len(history), self.settings.optimizer_steps, f"loss {history[-1].loss:.3f}")


def _check(model: nn.Module, windows: Windows, settings: TrainingSettings) -> None:
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError("no parameter of the model requires a gradient, so there is nothing to train")
    for name, parameter in trained:
        if parameter.dtype != torch.float32:
            raise ValueError(f"{name} is {parameter.dtype}: trained weights must be float32; load the model with it")
    if settings.optimizer_steps < 1 or settings.batch_windows < 1 or not len(windows):
        raise ValueError("optimizer_steps, batch_windows and the number of windows must be at least 1")


def _check_finite(record: StepRecord, step: int) -> None:
    if not (math.isfinite(record.loss) and math.isfinite(record.gradient_norm)):
        raise MeasurementFailed(
            f"training: at optimizer step {step} the loss is {record.loss} and the norm of its gradient "
            f"{record.gradient_norm}, expected finite numbers; lower the learning rate ({record.learning_rate:g} here)"
        )


def _groups(model: nn.Module, settings: TrainingSettings) -> list[dict[str, Any]]:
    """Trained parameters by what they share: the factor of their rate, and whether they decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = next((factor for start, factor in settings.rate_factors if name.startswith(start)), 1.0)
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((factor, decay), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "rate_factor": factor}
        for (factor, decay), parameters in groups.items()
    ]


def _key(model: nn.Module, windows: Windows, settings: TrainingSettings, *, seed: int, process_count: int) -> str:
    """Of everything that decides the course; how often states are written does not."""
    how = {name: value for name, value in asdict(settings).items() if not name.startswith("checkpoint_every")}
    how["betas"], how["gradient_clip"] = list(settings.betas), str(settings.gradient_clip)
    how["batch_doublings"] = list(settings.batch_doublings)
    how["rate_factors"] = [list(each) for each in settings.rate_factors]
    shapes: list[JsonValue] = [[name, *p.shape] for name, p in model.named_parameters() if p.requires_grad]
    return digest_of([how, windows.key, seed, process_count, shapes])


def _whole(norm: torch.Tensor) -> torch.Tensor:
    """A norm as one plain tensor, also where gradients are spread over processes."""
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm
