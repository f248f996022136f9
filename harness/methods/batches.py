"""Which windows an optimizer step learns from: a pure function of seed and step, so nothing has to be remembered.

pass 0: windows in one random order | pass 1: in another | ...
        |- step 0 -|- step 1 -|- step 2 -| ...              batch_windows each, over the borders of passes
                              |----- step 2 -----| ...      twice as many after each doubling
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harness.corpora.windows import Windows

IGNORE_INDEX = -100
"""Label of a token that has no loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Windows as a model takes them."""

    token_ids: torch.Tensor
    """``[B, T]``, int64."""
    labels: torch.Tensor
    """``[B, T]``, int64: the same ids, IGNORE_INDEX where the loss does not count. Not shifted."""
    indices: NDArray[np.int64] | None = None
    """``[B]``: which windows these are, for what is kept of each beside it (a teacher's targets)."""
    step: int = 0
    """Optimizer step, counted from 0, for what changes in the course of a training (a target, a gate)."""


def batch_span(step: int, *, batch_windows: int, doublings: Sequence[int] = ()) -> range:
    """Which windows, counted from the first of the training, step ``step`` takes.

    Args:
        step: Optimizer step, counted from 0.
        batch_windows: Windows of a step before the first doubling.
        doublings: Ascending counts of windows; the first step that begins at or after one takes twice as many as the
            step before, and so do all that follow.
    """
    start, size, steps = 0, batch_windows, step
    for threshold in doublings:
        before = min(steps, max(0, -(-(threshold - start) // size)))
        start, steps = start + before * size, steps - before
        if start < threshold:
            break
        size *= 2
    return range(start + steps * size, start + (steps + 1) * size)


def batch_order(  # noqa: PLR0913 - all but the first by name
    step: int,
    *,
    window_count: int,
    batch_windows: int,
    seed: int,
    doublings: Sequence[int] = (),
    in_order: bool = False,
) -> NDArray[np.int64]:
    """Indices of the windows of optimizer step ``step``; every pass takes each window once.

    ``in_order``: as they were packed, which is how a curriculum is kept.
    """
    span = batch_span(step, batch_windows=batch_windows, doublings=doublings)
    places = np.arange(span.start, span.stop)
    if in_order:
        return places % window_count
    passes = {number: _permutation(int(number), window_count, seed) for number in np.unique(places // window_count)}
    return np.array([passes[place // window_count][place % window_count] for place in places], dtype=np.int64)


def read_batch(windows: Windows, indices: NDArray[np.int64], device: torch.device, *, step: int = 0) -> Batch:
    """The windows of ``indices`` on ``device``, for optimizer step ``step``."""
    token_ids = torch.from_numpy(windows.token_ids[indices].astype(np.int64))
    labels = token_ids.clone()
    if windows.loss_mask is not None:
        labels[torch.from_numpy(windows.loss_mask[indices] == 0)] = IGNORE_INDEX
    return Batch(token_ids=token_ids.to(device), labels=labels.to(device), indices=indices, step=step)


def label_count(windows: Windows, indices: NDArray[np.int64]) -> int:
    """How many tokens of these windows are predicted and count; the first of each window is never predicted."""
    if windows.loss_mask is None:
        return len(indices) * (int(windows.token_ids.shape[1]) - 1)
    return int(np.count_nonzero(windows.loss_mask[indices][:, 1:]))


def derived_seed(*parts: int | str) -> int:
    """A seed of 63 bits from several parts, well mixed."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def _permutation(pass_number: int, window_count: int, seed: int) -> NDArray[np.int64]:
    generator = np.random.Generator(np.random.PCG64(derived_seed("order", seed, pass_number)))
    order: NDArray[np.int64] = generator.permutation(window_count)
    return order
