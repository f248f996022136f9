"""The best choice for each layer within limits on the whole: a multiple-choice knapsack, solved to the optimum.

    layer 0   width 128: error 3.1, 0.8 ms, 1 MB | width 256: error 1.2, 1.3 ms, 2 MB | ...     one of them
    layer 1   ...                                                                                one of them
    least sum of errors with  sum of ms <= limit,  sum of MB <= limit        (scipy.optimize.milp)

What a choice costs is measured by whoever asks: latency on the device that the model is for, errors by calibration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import BudgetUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One way to make a layer."""

    error: float
    """What the whole is to have the least of."""
    costs: Mapping[str, float]
    """By resource, in its unit: seconds, bytes, parameters."""


def choose(layers: Sequence[Sequence[Choice]], limits: Mapping[str, float]) -> tuple[int, ...]:
    """The number of the choice for each layer: least error in sum, every resource within its limit.

    Args:
        layers: The choices of each.
        limits: Of the sum over layers, by resource.

    Raises:
        ValueError: no layers, a layer without choices, or a number that is not finite.
        BudgetUnreachable: no choices are within the limits; the message has the least of each resource.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    _check(layers, limits)
    counts = [len(choices) for choices in layers]
    flat = [choice for choices in layers for choice in choices]
    one_each = np.repeat(np.eye(len(layers)), counts, axis=1)
    # Rows are scaled, since a solver's tolerance is absolute and bytes are not seconds.
    costs = np.array([[choice.costs[name] / (limit or 1.0) for choice in flat] for name, limit in limits.items()])
    constraints = [LinearConstraint(one_each, 1, 1)]
    if limits:
        constraints.append(LinearConstraint(costs, -np.inf, [1.0 if limit else 0.0 for limit in limits.values()]))
    errors = np.array([choice.error for choice in flat])
    found = milp(
        errors / (np.abs(errors).max() or 1.0),
        integrality=np.ones(len(flat)),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        raise BudgetUnreachable(_unreachable(layers, limits))
    chosen = np.split(found.x, np.cumsum(counts)[:-1])
    return tuple(int(part.argmax()) for part in chosen)


def _check(layers: Sequence[Sequence[Choice]], limits: Mapping[str, float]) -> None:
    if not layers or not all(layers):
        raise ValueError("layers must be at least one, each with at least one choice")
    numbers = [
        *limits.values(),
        *(number for choices in layers for choice in choices for number in (choice.error, *choice.costs.values())),
    ]
    if not np.isfinite(numbers).all() or min(limits.values(), default=0.0) < 0:
        raise ValueError("errors, costs and limits must be finite, and limits not negative")


def _unreachable(layers: Sequence[Sequence[Choice]], limits: Mapping[str, float]) -> str:
    least = {name: sum(min(choice.costs[name] for choice in choices) for choices in layers) for name in limits}
    shown = ", ".join(f"{name} {limit:g} (at least {least[name]:g} by itself)" for name, limit in limits.items())
    return f"no choice for each layer is within the limits: {shown}; raise one, or offer smaller layers"
