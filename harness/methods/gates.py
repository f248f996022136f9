"""Gates on the units of a model: as a function of its weights, from the anatomy's tables, for any architecture.

    axis           where its gate is multiplied in                                    a unit with gate 0
    kv_group       the columns of the attention's way out                             has no effect
    head           likewise: the same query heads of every KV group of a layer        has no effect
    intermediate   the columns of the MLP's way out                                   has no effect
    layer          all of both ways out                                               adds nothing to the stream
    hidden         embedding, both ways out, norms' outputs; norms count open ones    is zero throughout

    weights, gates ──gated_weights──> weights ──stock forward──> features            gradients reach both
    gates > 0 ──plan_of_gates──> Plan;   fold + surgery.apply(plan) computes what the gated model did

Nothing of an architecture's forward pass is written anew but its norm, which counts open units alone. With tied
embeddings a hidden gate is in the embedding's columns and so in the head's, and the final norm goes without: it is
folded once, not twice as in Sheared-LLaMA's own code. Biases of the ways out are gated as their rows are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import nn
from torch.func import functional_call

from harness.errors import UsageError
from harness.methods.distillation import FeatureModel, Features
from harness.surgery.plan import Plan, plan_of
from harness.surgery.table import HIDDEN_AXIS, LAYER_AXIS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel

    from harness.surgery.anatomy import Anatomy
    from harness.surgery.dimension import Dimension
    from harness.surgery.linear import Tensor

Gates: TypeAlias = Mapping[str, Sequence[torch.Tensor]]
"""Axis to one vector of gates for each layer, or to a single one where the axis belongs to the whole model."""
INNER_AXES = ("kv_group", "head", "intermediate")
"""Axes inside a layer, whose units leave through the columns of a way out."""
GATED_AXES = (HIDDEN_AXIS, *INNER_AXES, LAYER_AXIS)


def open_gates(
    anatomy: Anatomy, axes: Sequence[str] = GATED_AXES, *, device: str = "cpu"
) -> dict[str, list[torch.Tensor]]:
    """Gates that change nothing: all at 1. Raises ``UsageError`` for an axis that has no gates."""
    return {axis: [torch.ones(size, device=device) for size in unit_counts(anatomy, axis)] for axis in axes}


def unit_counts(anatomy: Anatomy, axis: str) -> list[int]:
    """Units of ``axis`` in each layer, or one count where the axis belongs to the whole model.

    Raises:
        UsageError: the axis has no gates.
    """
    if axis not in GATED_AXES:
        raise UsageError(f"axis must be one of {', '.join(GATED_AXES)}, got {axis!r}")
    if anatomy.table.axes[axis].scope == "model":
        return [anatomy.sizes[axis]]
    return [sizes[axis] for sizes in anatomy.layer_sizes]


def gated_weights(weights: Mapping[str, torch.Tensor], anatomy: Anatomy, gates: Gates) -> dict[str, torch.Tensor]:
    """The weights with ``gates`` multiplied in; those that no gate reaches are left out.

    Args:
        weights: By name; a tied head is not among them.
        anatomy: Of the model that has them.
        gates: Of any of ``GATED_AXES``.
    """
    gated = {}
    for tensor in anatomy.tensors.values():
        factors = _factors(tensor, anatomy, gates)
        if factors and tensor.name in weights:
            value = weights[tensor.name]
            for factor in factors:
                value = value * factor.to(value.dtype)
            gated[tensor.name] = value
    return gated


class GatedModel(nn.Module):
    """A causal language model up to its head, with gates given in each call."""

    def __init__(self, model: PreTrainedModel, anatomy: Anatomy) -> None:
        """Gate ``model``, which ``anatomy`` describes.

        Raises:
            UsageError: it has fused or factorised linears, whose units have no gates, or no norms.
        """
        super().__init__()
        if anatomy.table.block.norm not in NORMS:
            raise UsageError(f"a {anatomy.table.model_type} has no gates: its norm must be one of {', '.join(NORMS)}")
        if anatomy.fused or any(anatomy.ranks(layer) for layer in range(anatomy.layer_count)):
            raise UsageError("a model with fused or factorised linears has no gates; gate it before they are made")
        self.inner = FeatureModel(model)
        self._anatomy = anatomy

    def forward(self, token_ids: torch.Tensor, gates: Gates) -> Features:
        """Features of ``token_ids [B, T]`` under ``gates``."""
        weights = dict(self.inner.model.named_parameters())
        gated = {f"model.{name}": value for name, value in gated_weights(weights, self._anatomy, gates).items()}
        with _counting_open_units(self.inner.model, self._anatomy, gates):
            features: Features = functional_call(self.inner, gated, (token_ids,))
        return features


@torch.no_grad()
def fold(model: PreTrainedModel, anatomy: Anatomy, gates: Gates) -> None:
    """Multiply ``gates`` into the weights of ``model``, in place, once."""
    weights = dict(model.named_parameters())
    for name, value in gated_weights(weights, anatomy, gates).items():
        weights[name].copy_(value)


def plan_of_gates(anatomy: Anatomy, gates: Gates) -> Plan:
    """The plan that keeps the units whose gate is not 0, for weights into which ``fold`` has multiplied the gates.

    Norms of the gated model count open units already, so the plan leaves their weights alone.
    """
    keep: dict[str, list[list[int]]] = {}
    for axis, vectors in gates.items():
        kept = [vector.detach().nonzero().flatten().tolist() for vector in vectors]
        if any(len(units) < len(vector) for units, vector in zip(kept, vectors, strict=True)):
            keep[axis] = kept
    return plan_of(anatomy, keep, rescale_norms=False)


def _factors(tensor: Tensor, anatomy: Anatomy, gates: Gates) -> list[torch.Tensor]:
    """What ``tensor`` is multiplied by, each of a shape that fits it."""
    if tensor.module in _ways_out(anatomy):
        return _way_out_factors(tensor, anatomy, gates)
    if HIDDEN_AXIS not in gates or not tensor.names_axis(HIDDEN_AXIS):
        return []
    if tensor.module in _norms(anatomy) or tensor.module.endswith("embed_tokens"):
        return [gates[HIDDEN_AXIS][0]]
    return []


def _ways_out(anatomy: Anatomy) -> set[str]:
    return {anatomy.table.block.output, anatomy.table.block.down}


def _norms(anatomy: Anatomy) -> set[str]:
    """Modules whose output carries the hidden gate."""
    block = anatomy.table.block
    final = set() if anatomy.config.get("tie_word_embeddings") else {f"model.{block.final_norm}"}
    return {name for name in (block.attention_norm, block.mlp_norm) if name} | final


def _way_out_factors(tensor: Tensor, anatomy: Anatomy, gates: Gates) -> list[torch.Tensor]:
    """Rows and biases by the hidden gate and the layer's; columns by those of the units that leave through them."""
    assert tensor.layer is not None  # noqa: S101 - a way out belongs to a layer
    per_row = len(tensor.dimensions) > 1
    factors = []
    if HIDDEN_AXIS in gates:
        factors.append(gates[HIDDEN_AXIS][0][:, None] if per_row else gates[HIDDEN_AXIS][0])
    if LAYER_AXIS in gates:
        factors.append(gates[LAYER_AXIS][0][tensor.layer])
    for axis in INNER_AXES if per_row else ():
        if axis in gates and tensor.names_axis(axis):
            sizes = anatomy.sizes_in(tensor.layer)
            factors.append(spread(tensor.dimensions[1], axis, sizes, gates[axis][tensor.layer])[None, :])
    return factors


def spread(dimension: Dimension, axis: str, sizes: Mapping[str, int], values: torch.Tensor) -> torch.Tensor:
    """``values [sizes[axis]]`` at every position along ``dimension``; 1 where the axis is not named."""
    blocks = []
    for block in dimension:
        shape = [sizes[name] for name in block]
        if axis in block:
            own = [-1 if name == axis else 1 for name in block]
            blocks.append(values.reshape(own).expand(shape).reshape(-1))
        else:
            blocks.append(values.new_ones(shape).reshape(-1))
    return torch.cat(blocks)


@contextmanager
def _counting_open_units(model: PreTrainedModel, anatomy: Anatomy, gates: Gates) -> Iterator[None]:
    """Within the block the norms of ``model`` take mean and variance over open hidden units alone."""
    if HIDDEN_AXIS not in gates:
        yield
        return
    is_open = (gates[HIDDEN_AXIS][0].detach() != 0).float()
    norms = list(_norm_modules(model, anatomy))
    normalise = NORMS[anatomy.table.block.norm]
    epsilon = float(anatomy.config[anatomy.table.block.norm_epsilon])
    try:
        for norm in norms:
            norm.forward = partial(normalise, norm, is_open, epsilon)
        yield
    finally:
        for norm in norms:
            vars(norm).pop("forward", None)


def _norm_modules(model: PreTrainedModel, anatomy: Anatomy) -> Iterator[nn.Module]:
    block = anatomy.table.block
    yield model.get_submodule(f"model.{block.final_norm}")
    for layer in range(anatomy.layer_count):
        for name in (block.attention_norm, block.mlp_norm):
            if name:
                yield model.get_submodule(f"model.layers.{layer}.{name}")


def _rms_norm(norm: Any, is_open: torch.Tensor, epsilon: float, hidden: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - each architecture's own class
    """As the stock norm, but that the mean of squares is over open units; closed ones are zero."""
    wide = hidden.float()
    scale = torch.rsqrt(wide.square().sum(-1, keepdim=True) / is_open.sum() + epsilon)
    normed: torch.Tensor = norm.weight * (wide * scale).to(hidden.dtype)
    return normed


def _layer_norm(norm: Any, is_open: torch.Tensor, epsilon: float, hidden: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - likewise
    wide, count = hidden.float(), is_open.sum()
    centred = (wide - wide.sum(-1, keepdim=True) / count) * is_open
    scale = torch.rsqrt(centred.square().sum(-1, keepdim=True) / count + epsilon)
    normed: torch.Tensor = (centred * scale * norm.weight + norm.bias).to(hidden.dtype)
    return normed


NORMS = {"rms": _rms_norm, "layer": _layer_norm}
"""By the name that an anatomy's block has for them."""
