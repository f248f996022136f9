"""Which linear gets which rank: the original's search, and cheaper ones beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from harness.methods.rank_search import ModelProbe, losses_by_fraction, search_top_k
from harness.methods.ranks import ranks_by_error, ranks_by_threshold, uniform_ranks
from harness_nics.calibration import load_student, mean_loss
from harness_nics.planning import THRESHOLD_FRACTIONS, top_k_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from pydantic import JsonValue

    from harness import CompressRequest
    from harness.methods.batches import Batch
    from harness.methods.low_rank import Factorisation
    from harness.methods.ranks import LinearSize, Ranks
    from harness_nics.options import DecomposeStep, NicsOptions

MEASURED: Final = ("top-k", "binary", "sensitivity")
"""Allocations that measure the loss, and so need the model in memory."""
PROBED_FRACTION: Final = 0.5
"""Share at which ``sensitivity`` measures what a linear's error does to the loss."""
LEAST_RISE: Final = 1e-6
"""Of the loss, nats/token: a linear whose error seems to help has an error all the same."""


class FactorSource(Protocol):
    """Where factors come from."""

    def of(self, path: str) -> Factorisation:
        """Those of the linear ``path``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """Ranks, and what finding them cost."""

    ranks: Ranks
    notes: dict[str, JsonValue]


def allocate(
    request: CompressRequest[NicsOptions, DecomposeStep],
    linears: Sequence[LinearSize],
    weight_limit: int,
    factors: FactorSource,
    batches: Sequence[Batch],
) -> Allocation:
    """Ranks by the step's allocation, within ``weight_limit``; raises ``BudgetUnreachable``."""
    step = request.step
    if step.allocation == "uniform":
        return Allocation(ranks=uniform_ranks(linears, weight_limit, multiple=step.rank_multiple), notes={})
    if step.allocation == "error":
        return Allocation(ranks=_by_error(linears, weight_limit, factors, step, {}), notes={})
    model = load_student(request)
    searched = batches[: max(1, step.search_windows // step.batch_windows)]
    probe = ModelProbe(model, factors.of, lambda each: mean_loss(each, searched))
    if step.allocation == "top-k":
        found = search_top_k(linears, weight_limit, probe, top_k_settings(step), request.progress)
        ranks, rounds = found.ranks, found.round_count
    else:
        ranks, rounds = _measured_alone(linears, weight_limit, factors, step, probe), 1
    cost: dict[str, JsonValue] = {
        "factorisations": probe.factorisation_count,
        "loss_measurements": probe.trial_count,
        "rounds": rounds,
    }
    return Allocation(ranks=ranks, notes=cost)


def _measured_alone(
    linears: Sequence[LinearSize], weight_limit: int, factors: FactorSource, step: DecomposeStep, probe: ModelProbe
) -> Ranks:
    """By what each linear alone does to the loss."""
    if step.allocation == "binary":
        losses = losses_by_fraction(linears, THRESHOLD_FRACTIONS, probe)
        return ranks_by_threshold(linears, weight_limit, losses, multiple=step.rank_multiple)
    dense = probe.loss()
    alone = losses_by_fraction(linears, [PROBED_FRACTION], probe)
    rises = {path: max(losses[PROBED_FRACTION] - dense, LEAST_RISE) for path, losses in alone.items()}
    return _by_error(linears, weight_limit, factors, step, rises)


def _by_error(
    linears: Sequence[LinearSize],
    weight_limit: int,
    factors: FactorSource,
    step: DecomposeStep,
    rises: dict[str, float],
) -> Ranks:
    """By the share of its output that each rank loses, or by that in units of the loss that it was seen to cause."""
    errors: dict[str, NDArray[np.float64]] = {}
    for linear in linears:
        found = factors.of(linear.path)
        relative = (found.dropped_energy() / max(found.energy, 1e-300)).numpy()
        rank = linear.rank_of(PROBED_FRACTION)
        seen = relative[rank] if rank is not None else 1.0
        errors[linear.path] = relative * (rises[linear.path] / max(seen, 1e-12) if rises else 1.0)
    return ranks_by_error(
        linears,
        weight_limit,
        errors,
        multiple=step.rank_multiple,
        minimum_fraction=step.minimum_fraction,
    )
