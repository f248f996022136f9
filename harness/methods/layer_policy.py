"""How hard each layer is compressed, from how much its outputs suffer (Edge-LLM's LUC, DAC 2024).

    error of layer i ──min-max──> t_i in 0..1 ──1 - t_i──> w_i ──scaled to the sum P L──> ratio r_i
    r_i above what a layer may lose ──> clamped, the rest goes to the others in proportion to w, then evenly
    P from 0 up ──> r_i(P) ──the P at which a layer may do with a width──> the order in which widths come back

Layers are told apart by number, never by the order in which their errors were found. The most sensitive layer loses
the least. ``policy_family`` makes of the same ratios a family of plans, so that budgets are met by counting.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from harness.methods.budget import DEFAULT_MULTIPLES, Family, Rail
from harness.methods.selection import legal_widths
from harness.methods.units import zero_scores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from harness.methods.budget import Scores
    from harness.surgery.anatomy import Anatomy

GRID_COUNT: Final = 513
"""Mean ratios that are looked at when widths are put in order."""


def pruning_ratios(
    errors: Mapping[int, float], mean_ratio: float, *, largest: float = 1.0, strength: float = 1.0
) -> tuple[float, ...]:
    """The ratio of each layer, by number; their mean is ``mean_ratio`` to rounding.

    Args:
        errors: Of every layer by its number from 0, in any order; finite.
        mean_ratio: Over all layers, 0..largest.
        largest: The most that one layer may lose, above 0 up to 1.
        strength: 1 as published, 0 the same for every layer, and straight between them.

    Raises:
        ValueError: a layer is missing, an error is not finite, or a number is out of range.
    """
    if not 0 < largest <= 1 or not 0 <= mean_ratio <= largest or not 0 <= strength <= 1:
        raise ValueError(
            f"0 <= mean_ratio <= largest <= 1 and 0 <= strength <= 1 must hold, got {mean_ratio}, {largest}, {strength}"
        )
    weights = _robustness(errors)
    ratios = _clamped(weights, mean_ratio * len(weights), largest)
    return tuple((mean_ratio + strength * (ratios - mean_ratio)).tolist())


def bit_widths(errors: Mapping[int, float], bits: int, *, extra: int = 1) -> tuple[int, ...]:
    """Bits of each layer, by number: ``bits``, and ``extra`` more where the error is at least the mean.

    Raises:
        ValueError: a layer is missing, an error is not finite, or fewer than two bits.
    """
    if bits < 2 or extra < 0:  # noqa: PLR2004 - one bit has no symmetric levels
        raise ValueError(f"bits must be at least 2 and extra at least 0, got {bits} and {extra}")
    values = _ordered(errors)
    return tuple(bits + extra * int(value >= values.mean()) for value in values)


def policy_family(  # noqa: PLR0913 - the request of a library function, all but the first three by name
    anatomy: Anatomy,
    scores: Scores,
    errors: Mapping[str, Mapping[int, float]],
    *,
    multiples: Mapping[str, int] = DEFAULT_MULTIPLES,
    largest: float = 1.0,
    strength: float = 1.0,
) -> Family:
    """Plans whose layers keep widths in the order in which ``pruning_ratios`` lets them go; for ``fit_parameters``.

    Args:
        anatomy: Of the model.
        scores: Units of the axes that are cut; which units stay in a layer is theirs to say.
        errors: By axis, of every layer by number: how many stay is theirs.
        multiples: Of the widths, by axis.
        largest: As ``pruning_ratios``; one legal width stays in any case.
        strength: As ``pruning_ratios``.

    Raises:
        ValueError: scores or errors that do not fit the model, or a number out of range.
    """
    for axis, zeros in zero_scores(anatomy, scores).items():
        wanted, found = [len(each) for each in zeros], [len(each) for each in scores[axis]]
        if wanted != found:
            raise ValueError(f"scores of {axis} must be of {wanted} units by layer, got {found}")
    rails: list[Rail] = []
    steps: list[tuple[float, int]] = []
    means = np.linspace(0, largest, GRID_COUNT)
    for axis in scores:
        _require_all(errors[axis], anatomy.layer_count)
        path = np.array([pruning_ratios(errors[axis], float(m), largest=largest, strength=strength) for m in means])
        for layer, sizes in enumerate(anatomy.layer_sizes):
            widths = legal_widths(sizes[axis], multiples.get(axis, 1))
            steps += [(-goes, len(rails)) for goes in _departures(widths, path[:, layer], means)]
            rails.append(Rail(axis=axis, layers=(layer,), widths=widths))
    order = tuple(number for _, number in sorted(steps))
    return Family(anatomy=anatomy, scores=scores, rails=tuple(rails), order=order)


def _departures(widths: Sequence[int], ratios: NDArray[np.float64], means: NDArray[np.float64]) -> list[float]:
    """Of each step up from a width: the mean ratio from which the layer may do with the lower width.

    As in ``uniform_family``, whose steps are taken where a layer has kept no more than its share; so that, where all
    layers are alike, the axes share a budget as they do there.
    """
    allowed = [1 - lower / widths[-1] for lower, _ in pairwise(widths)]
    places = [int(np.searchsorted(ratios, share - 1e-9, side="left")) for share in allowed]
    return [float(means[place]) if place < len(means) else 2.0 for place in places]


def _robustness(errors: Mapping[int, float]) -> NDArray[np.float64]:
    """``1 - t`` of each layer; all one where no layer differs from another."""
    values = _ordered(errors)
    spread = values.max() - values.min()
    return np.ones(len(values)) if spread == 0 else 1 - (values - values.min()) / spread


def _clamped(weights: NDArray[np.float64], total: float, largest: float) -> NDArray[np.float64]:
    """Shares of ``total`` in proportion to ``weights``, none above ``largest``; zero weights get what nobody can."""
    shares = np.zeros(len(weights))
    is_full = np.zeros(len(weights), dtype=bool)
    while (left := total - shares[is_full].sum()) > 0 and not is_full.all():
        basis = np.where(is_full, 0.0, weights)
        if basis.sum() == 0:
            basis = np.where(is_full, 0.0, 1.0)
        shares = np.where(is_full, largest, left * (basis / basis.sum()))
        over = ~is_full & (shares > largest)
        if not over.any():
            break
        is_full |= over
        shares = np.where(is_full, largest, 0.0)
    return np.minimum(shares, largest)


def _ordered(errors: Mapping[int, float]) -> NDArray[np.float64]:
    """Errors by layer number; raises ``ValueError`` where a layer is missing or an error is not finite."""
    if not errors:
        raise ValueError("errors must be of at least one layer, got none")
    _require_all(errors, len(errors))
    values = np.array([errors[layer] for layer in range(len(errors))], dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("errors must be finite")
    return values


def _require_all(errors: Mapping[int, float], layer_count: int) -> None:
    missing = sorted(set(range(layer_count)) ^ set(errors))
    if missing:
        raise ValueError(f"errors must be of layers 0..{layer_count - 1}, missing or unknown: {missing}")
