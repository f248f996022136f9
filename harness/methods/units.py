"""Where the units of an axis lie in the tensors of a layer: what every scorer adds up by.

axis kv_group   q_proj.weight [kv_group * head * head_dim, hidden]    place 0
                o_proj.weight [hidden, kv_group * head * head_dim]    place 1, and a way out
values along a place ──harness.surgery.dimension.unit_sums──> [units]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from harness.surgery.dimension import axes_of
from harness.surgery.linear import LINEAR_RANK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray
    from torch import nn

    from harness.surgery.anatomy import Anatomy
    from harness.surgery.linear import Tensor

UnitScores: TypeAlias = "dict[str, list[NDArray[np.float64]]]"
"""Axis to one array ``[units]`` for each layer of the model; higher stays."""


def zero_scores(anatomy: Anatomy, axes: Iterable[str]) -> UnitScores:
    """Scores of every unit of ``axes``, all zero.

    Raises:
        ValueError: an axis is not one that each layer has for itself and that can be cut.
    """
    known = [name for name, axis in anatomy.table.axes.items() if axis.scope == "layer" and axis.fixed is None]
    asked = tuple(axes)
    for axis in asked:
        if axis not in known:
            raise ValueError(f"axis must be one of a layer's, {', '.join(known)}, got {axis!r}")
    return {axis: [np.zeros(sizes[axis]) for sizes in anatomy.layer_sizes] for axis in asked}


def layer_tensors(anatomy: Anatomy) -> Iterator[tuple[int, Tensor]]:
    """Every tensor that belongs to a layer, with the layer's number."""
    for tensor in anatomy.tensors.values():
        if tensor.layer is not None:
            yield tensor.layer, tensor


def places(tensor: Tensor, axes: Iterable[str]) -> dict[str, int]:
    """Of each of ``axes`` that reaches into ``tensor``, the dimension that names it."""
    named = [axes_of(dimension) for dimension in tensor.dimensions]
    return {axis: place for axis in axes for place, names in enumerate(named) if axis in names}


def is_exit(anatomy: Anatomy, tensor: Tensor, axis: str) -> bool:
    """Whether the units of ``axis`` leave the layer's inside through the columns of ``tensor``.

    With these columns at zero a unit has no effect whatever its other weights are.
    """
    is_way_out = tensor.module in {anatomy.table.block.output, anatomy.table.block.down}
    return is_way_out and tensor.names_axis(axis)


def is_matrix(tensor: Tensor) -> bool:
    """Whether ``tensor`` is multiplied with an input: the weight of a linear, or a factor of one."""
    return len(tensor.dimensions) == LINEAR_RANK


def parameter_of(model: nn.Module, tensor: Tensor) -> nn.Parameter:
    """The parameter of ``model`` that ``tensor`` describes; raises ``ValueError`` where it has none."""
    try:
        return model.get_parameter(tensor.name)
    except AttributeError as error:
        raise ValueError(f"the model has no {tensor.name!r}; it must be what the anatomy's config describes") from error
