"""One prediction from several exits (Edge-LLM's voting, DAC 2024).

logits of each exit ──softmax──> p_e [..., V] ──largest over exits, made to sum to 1──> p [..., V]
                                              └─or the mean, an extension

In a checkpoint exits stand in the structure, share final norm and head and add no parameter
(``harness.surgery.shape.config_with_exits``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from harness.checkpoint.structure import Vote


def vote(logits: Sequence[Tensor], how: Vote = "max") -> Tensor:
    """The distribution that the exits agree on, ``[..., V]``, float32, summing to 1.

    Args:
        logits: Of each exit, ``[..., V]``.
        how: ``max``: as published. ``mean``: the average.

    Raises:
        ValueError: no exits.
    """
    if not logits:
        raise ValueError("logits must be of at least one exit, got none")
    stacked = torch.stack([each.float().softmax(-1) for each in logits])
    joined = stacked.amax(0) if how == "max" else stacked.mean(0)
    return joined / joined.sum(-1, keepdim=True)
