"""What a plan will weigh, and the configuration that it will have: from ``config.json`` alone, before anything runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from harness.surgery.anatomy import Anatomy, axis_sizes, broken_constraint, load, load_table
from harness.surgery.expression import evaluate
from harness.surgery.plan import Plan, keep_all

if TYPE_CHECKING:
    from collections.abc import Mapping


def parameter_count(config: Mapping[str, Any], plan: Plan | None = None) -> int:
    """Parameters of the model that ``config`` describes, after ``plan``; tied tensors count once.

    Raises:
        UsageError: there is no anatomy for ``config``, or ``plan`` does not fit it.
    """
    anatomy = load(config)
    plan = plan or keep_all(anatomy)
    plan.check(anatomy)
    return sum(math.prod(shape) for shape in tensor_shapes(anatomy, plan).values())


def tensor_shapes(anatomy: Anatomy, plan: Plan) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor after ``plan``, by name."""
    sizes = {layer: plan.sizes(anatomy, layer) for layer in (None, *range(anatomy.layer_count))}
    return {tensor.name: tensor.shape(sizes[tensor.layer]) for tensor in anatomy.tensors.values()}


def resized_config(config: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    """``config`` with the axes in ``sizes`` at other sizes, the same in every layer; ``head_dim`` becomes explicit.

    Raises:
        UsageError: there is no anatomy for ``config``.
    """
    table = load_table(str(config.get("model_type")))
    remaining = {**axis_sizes(table, config), **sizes}
    fields = {field: evaluate(text, remaining) for field, text in table.config.items()}
    return {**config, **fields}


def reduced_config(config: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """The ``config.json`` after ``plan``, for the stock class of the architecture.

    Raises:
        UsageError: the plan does not fit, its layers differ, or the stock class refuses the shape.
    """
    anatomy = load(config)
    plan.check(anatomy)
    reduced = resized_config(config, plan.uniform_sizes(anatomy))
    broken = broken_constraint(anatomy.table, reduced)
    if broken is not None:
        raise UsageError(f"plan: {broken.holds} does not hold: {broken.reason}")
    return reduced


def is_stock(config: Mapping[str, Any]) -> bool:
    """Whether the stock class of the architecture takes ``config``; raises ``UsageError`` without an anatomy."""
    return broken_constraint(load_table(str(config.get("model_type"))), config) is None
