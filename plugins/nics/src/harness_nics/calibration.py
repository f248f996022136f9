"""Calibration text as batches, the loss on it, and the model that it is run through."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from harness.corpora.encoding import tokenizer_of
from harness.corpora.windows import pack
from harness.methods import models
from harness.methods.batches import Batch, read_batch
from harness.methods.calibration import CalibrationBatch
from harness.methods.training import causal_lm_loss
from harness_nics.options import CalibratedStep, NicsOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn
    from transformers import PreTrainedModel

    from harness import CompressRequest

StepT = TypeVar("StepT", bound=CalibratedStep)


def calibration_batches(request: CompressRequest[NicsOptions, StepT]) -> list[Batch]:
    """The step's windows on the CPU, ``batch_windows`` at a time; packed once and seeded."""
    step = request.step
    windows = pack(
        request.data,
        step.mixture,
        tokenizer_of(request.student.path),
        window_tokens=step.window_tokens,
        window_count=step.window_count,
        seed=request.seed,
        path=request.workdir / "calibration",
        progress=request.progress,
    )
    starts = range(0, step.window_count, step.batch_windows)
    stops = [min(start + step.batch_windows, step.window_count) for start in starts]
    cpu = torch.device("cpu")
    return [read_batch(windows, np.arange(start, stop), cpu) for start, stop in zip(starts, stops, strict=True)]


def unlabeled(batches: Sequence[Batch]) -> list[CalibrationBatch]:
    """The same texts for passes that look at activations alone."""
    return [CalibrationBatch(token_ids=batch.token_ids) for batch in batches]


def load_student(request: CompressRequest[NicsOptions, StepT]) -> PreTrainedModel:
    """The model so far, FP32, on the step's device."""
    return models.load(request.student.path, device=request.device)


def batch_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Mean negative log-likelihood of ``batch``, nats/token, wherever ``model`` is."""
    device = next(model.parameters()).device
    return causal_lm_loss(model, Batch(token_ids=batch.token_ids.to(device), labels=batch.labels.to(device)))


@torch.no_grad()
def mean_loss(model: nn.Module, batches: Sequence[Batch]) -> float:
    """Over all tokens of ``batches``; windows are equally long."""
    counts = [len(batch.token_ids) for batch in batches]
    losses = [float(batch_loss(model, batch)) for batch in batches]
    return sum(count * loss for count, loss in zip(counts, losses, strict=True)) / sum(counts)
