"""What a plan will weigh: parameters, bytes, cache and memory, from ``config.json`` alone, before anything runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from harness.checkpoint.dtypes import BITS
from harness.surgery.anatomy import load
from harness.surgery.shape import reduced_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.surgery.anatomy import Anatomy
    from harness.surgery.plan import Plan

LOGIT_BYTES: Final = 4
"""Logits are FP32, and of the last token only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """What a model weighs."""

    parameter_count: int
    """Tied tensors once."""
    kv_values_per_token: int
    """Keys and values that one token leaves in the cache, all layers together."""
    activation_values_per_token: int
    """Values alive at once for one token in the widest layer: the residual stream twice, queries, keys, values and
    context, or the MLP's channels, whichever is more."""
    vocabulary: int

    def weights_bytes(self, dtype: str = "F16") -> int:
        """Bytes of all tensors in a safetensors dtype."""
        return self.parameter_count * BITS[dtype] // 8

    def kv_bytes_per_token(self, dtype: str = "F16") -> int:
        """Bytes that one token takes in the cache."""
        return self.kv_values_per_token * BITS[dtype] // 8

    def inference_bytes(self, *, context_tokens: int, chunk_tokens: int, dtype: str = "F16") -> int:
        """Peak memory of inference without the runtime itself: weights, a full cache, one prefill chunk, logits.

        Args:
            context_tokens: tokens that the cache holds.
            chunk_tokens: tokens of a prompt that go through a layer at once.
            dtype: of weights, cache and activations.
        """
        cache = context_tokens * self.kv_bytes_per_token(dtype)
        activations = min(chunk_tokens, context_tokens) * self.activation_values_per_token * BITS[dtype] // 8
        return self.weights_bytes(dtype) + cache + activations + self.vocabulary * LOGIT_BYTES


def weigh(config: Mapping[str, Any], plan: Plan | None = None) -> Weight:
    """The weight of the model that ``config`` describes, after ``plan``.

    Raises:
        UsageError: there is no anatomy for ``config``, or ``plan`` does not fit it.
    """
    anatomy = load(config if plan is None else reduced_config(config, plan))
    layers = anatomy.layer_sizes
    return Weight(
        parameter_count=sum(math.prod(shape) for shape in tensor_shapes(anatomy).values()),
        kv_values_per_token=sum(2 * sizes["kv_group"] * sizes["head_dim"] for sizes in layers),
        activation_values_per_token=max(_activations(anatomy, sizes) for sizes in layers),
        vocabulary=anatomy.sizes["vocab"],
    )


def parameter_count(config: Mapping[str, Any], plan: Plan | None = None) -> int:
    """Parameters of the model that ``config`` describes, after ``plan``; tied tensors count once.

    Raises:
        UsageError: as ``weigh``.
    """
    return weigh(config, plan).parameter_count


def tensor_shapes(anatomy: Anatomy) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor, by name."""
    return {tensor.name: tensor.shape(anatomy.sizes_in(tensor.layer)) for tensor in anatomy.tensors.values()}


def _activations(anatomy: Anatomy, sizes: Mapping[str, int]) -> int:
    heads = sizes["kv_group"] * sizes["head"]
    attention = (2 * heads + 2 * sizes["kv_group"]) * sizes["head_dim"]
    channels = sizes["intermediate"] * (2 if anatomy.table.block.gate else 1)
    return 2 * sizes["hidden"] + max(attention, channels)
