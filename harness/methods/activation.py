"""Importance from what flows through a unit: forward passes only, no gradients.

    wanda        |W| times the norm of its input, over all coupled tensors (Sun et al. 2023, made structured)
    activation   what a unit hands on: mean |x| or norm of its channels at the way out (as in Minitron, Muralidharan
                 et al. 2024)

    coupled_linears | exit_linears ──calibration.gather_statistics──> statistics ──wanda | activation──> scores

Names of modules come from the anatomy, so fused and factorised linears are met where they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from harness.methods.units import UnitScores, is_exit, is_matrix, layer_tensors, parameter_of, places, zero_scores
from harness.surgery.dimension import unit_sums

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray
    from torch import nn

    from harness.methods.calibration import Statistics
    from harness.surgery.anatomy import Anatomy
    from harness.surgery.linear import Tensor

Statistic = Literal["mean_magnitude", "norm"]
"""``mean_magnitude``: mean of |x|, added up over a unit's channels. ``norm``: root mean square of the unit's vector."""


def coupled_linears(anatomy: Anatomy, axes: Iterable[str]) -> tuple[str, ...]:
    """Paths of all linears that lose weights when a unit of ``axes`` goes: what ``wanda`` needs statistics of."""
    asked = tuple(zero_scores(anatomy, axes))
    return tuple(_path(part) for _, part in layer_tensors(anatomy) if is_matrix(part) and places(part, asked))


def exit_linears(anatomy: Anatomy, axes: Iterable[str]) -> tuple[str, ...]:
    """Paths of the linears that units of ``axes`` leave through: what ``activation`` needs statistics of."""
    asked = tuple(zero_scores(anatomy, axes))
    return tuple(
        _path(part) for _, part in layer_tensors(anatomy) if any(is_exit(anatomy, part, axis) for axis in asked)
    )


def activation(
    anatomy: Anatomy,
    axes: Iterable[str],
    statistics: Mapping[str, Statistics],
    *,
    statistic: Statistic = "mean_magnitude",
) -> UnitScores:
    """How much each unit hands on: its channels as the down or output projection reads them.

    Args:
        anatomy: Of the model.
        axes: ``intermediate``, ``kv_group``, ``head``.
        statistics: At least of ``exit_linears``.
        statistic: What is added up.

    Raises:
        ValueError: an axis that is no layer's, or a linear without statistics.
    """
    scores = zero_scores(anatomy, axes)
    for layer, tensor in layer_tensors(anatomy):
        for axis in (axis for axis in scores if is_exit(anatomy, tensor, axis)):
            found = _of(statistics, tensor)
            values = found.mean_magnitude if statistic == "mean_magnitude" else found.second_moment
            sums = unit_sums(tensor.dimensions[1], axis, anatomy.sizes_in(layer), values)
            scores[axis][layer] = sums if statistic == "mean_magnitude" else np.sqrt(sums)
    return scores


def wanda(model: nn.Module, anatomy: Anatomy, axes: Iterable[str], statistics: Mapping[str, Statistics]) -> UnitScores:
    """|W| times the root mean square of its input, added up over everything that goes with a unit.

    That is Wanda's |W|·‖X‖ over the root of the number of tokens, so that scores of different calibrations compare. A
    bias is a weight whose input is always 1.

    Args:
        model: Has the weights, any dtype.
        anatomy: Of the model.
        axes: ``intermediate``, ``kv_group``, ``head``.
        statistics: At least of ``coupled_linears``.

    Raises:
        ValueError: an axis that is no layer's, a linear without statistics, or a model of another shape.
    """
    scores = zero_scores(anatomy, axes)
    for layer, tensor in layer_tensors(anatomy):
        where = places(tensor, scores)
        if not where:
            continue
        sums = _weighted_sums(parameter_of(model, tensor), _inputs(statistics, tensor), set(where.values()))
        for axis, place in where.items():
            scores[axis][layer] += unit_sums(tensor.dimensions[place], axis, anatomy.sizes_in(layer), sums[place])
    return scores


@torch.no_grad()
def _weighted_sums(
    weight: torch.Tensor, inputs: NDArray[np.float64] | None, asked: set[int]
) -> dict[int, NDArray[np.float64]]:
    """|W| times its inputs by row (0) or by column (1)."""
    size = weight.detach().abs().to(torch.promote_types(weight.dtype, torch.float32))
    if inputs is None:
        return {0: size.double().cpu().numpy()}
    sums = {}
    if 0 in asked:
        scales = torch.from_numpy(inputs).to(size.device, size.dtype)
        sums[0] = (size * scales).sum(1, dtype=torch.float64).cpu().numpy()
    if 1 in asked:
        sums[1] = size.sum(0, dtype=torch.float64).cpu().numpy() * inputs
    return sums


def _inputs(statistics: Mapping[str, Statistics], tensor: Tensor) -> NDArray[np.float64] | None:
    """Root mean square of what ``tensor`` is multiplied with; None of a bias."""
    return _of(statistics, tensor).root_mean_square if is_matrix(tensor) else None


def _of(statistics: Mapping[str, Statistics], tensor: Tensor) -> Statistics:
    path = _path(tensor)
    if path not in statistics:
        raise ValueError(f"no statistics of {path}; gather those of every linear that is asked for")
    return statistics[path]


def _path(tensor: Tensor) -> str:
    """The module that has ``tensor``; of a factorised linear, the factor."""
    return tensor.name.rpartition(".")[0]
