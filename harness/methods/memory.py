"""What a method will hold in memory, from a configuration alone, and a refusal where that is more than there is.

A process that is killed for memory says nothing; these figures are known before a weight is read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.errors import LimitExceeded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.surgery.anatomy import Anatomy

FP32_BYTES: Final = 4
FP64_BYTES: Final = 8
LAYER_COPIES: Final = 3
"""Values of a layer that its backward pass holds for each one that flows forward: value, gradient, scratch."""
LOGIT_COPIES: Final = 3
"""Logits, their log-softmax, their gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSize:
    """Texts that go through a model at once."""

    texts: int
    tokens: int

    @property
    def token_count(self) -> int:
        """Tokens of the batch."""
        return self.texts * self.tokens


def model_bytes(anatomy: Anatomy) -> int:
    """FP32 weights, tied tensors once."""
    return FP32_BYTES * sum(_layer_weights(anatomy, layer) for layer in (None, *range(anatomy.layer_count)))


def forward_bytes(anatomy: Anatomy, batch: BatchSize) -> int:
    """Weights, one layer's values and the logits of ``batch``, no gradients."""
    values = _widest(anatomy) + anatomy.sizes["vocab"]
    return model_bytes(anatomy) + FP32_BYTES * batch.token_count * values


def backward_bytes(
    anatomy: Anatomy, batch: BatchSize, *, kept_per_weight: int = 1, layers_at_once: int | None = None
) -> int:
    """Weights, what is kept of gradients, and the values that a backward pass with gradient checkpointing holds.

    Args:
        anatomy: Of the model.
        batch: Of one backward pass.
        kept_per_weight: Numbers kept of each weight that is scored: Taylor's order ``first`` keeps 1, ``mixed`` 2.
        layers_at_once: Layers that are scored in one pass; None for all.
    """
    layers = [_layer_weights(anatomy, layer) for layer in range(anatomy.layer_count)]
    scored = sum(sorted(layers)[-(layers_at_once or len(layers)) :])
    kept = FP32_BYTES * (kept_per_weight * scored + max(layers))
    between = anatomy.layer_count * anatomy.sizes["hidden"]
    values = between + LAYER_COPIES * _widest(anatomy) + LOGIT_COPIES * anatomy.sizes["vocab"]
    return model_bytes(anatomy) + kept + FP32_BYTES * batch.token_count * values


def layer_backward_bytes(anatomy: Anatomy, batch: BatchSize, *, kept_per_weight: int = 1) -> int:
    """What ``layerwise_taylor`` holds: one layer with its gradients and values, or the head with its logits.

    Args:
        anatomy: Of the model.
        batch: Of one backward pass.
        kept_per_weight: As of ``backward_bytes``.
    """
    hidden, vocabulary = anatomy.sizes["hidden"], anatomy.sizes["vocab"]
    weights = max(_layer_weights(anatomy, layer) for layer in range(anatomy.layer_count))
    layer = (2 + kept_per_weight) * weights + LAYER_COPIES * batch.token_count * (_widest(anatomy) + hidden)
    head = vocabulary * hidden + LOGIT_COPIES * batch.token_count * (vocabulary + hidden)
    return FP32_BYTES * max(layer, head)


def moments_bytes(input_counts: Iterable[int]) -> int:
    """Second moments in FP64 of linears with so many inputs each, all held at once."""
    return FP64_BYTES * sum(count * count for count in input_counts)


def require_memory(needed_bytes: int, what: str, way_out: str, *, device: str = "cpu") -> None:
    """Return where ``device`` has ``needed_bytes`` free.

    Raises:
        LimitExceeded: it has not; the message says how much is needed and found.
    """
    available = available_bytes(device)
    if needed_bytes > available:
        raise LimitExceeded(
            f"{what} needs about {needed_bytes / 2**30:.1f} GiB of memory on {device}, "
            f"found {available / 2**30:.1f} GiB free; {way_out}"
        )


def available_bytes(device: str = "cpu") -> int:
    """Bytes that can still be taken on ``device``."""
    if device.startswith("cuda"):
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    import psutil

    return int(psutil.virtual_memory().available)


def _layer_weights(anatomy: Anatomy, layer: int | None) -> int:
    """Weights of one layer; None: outside of layers."""
    tensors = (tensor for tensor in anatomy.tensors.values() if tensor.layer == layer)
    return sum(math.prod(tensor.shape(anatomy.sizes_in(layer))) for tensor in tensors)


def _widest(anatomy: Anatomy) -> int:
    """Values that one token has in the widest layer, all of its linears' outputs together."""

    def values(layer: int) -> int:
        sizes = anatomy.sizes_in(layer)
        heads = sizes["kv_group"] * (2 * sizes["head"] + 2) * sizes["head_dim"]
        return 4 * sizes["hidden"] + heads + 3 * sizes["intermediate"]

    return max(values(layer) for layer in range(anatomy.layer_count))
