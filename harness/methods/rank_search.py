"""Iterative top-K rank allocation (NICS-EffAlg's DecompLLM): a little from the linears that mind least, until it fits.

    state: every linear dense
    round: of each linear, the loss with its share of weights one step lower and all else as it is
           the K linears with the lowest take the step ──> until the weights are within the limit

What the original does again and again is done once here: a linear is factorised when it is first tried, and every rank
is a slice of that; and of a linear that did not change, the rise in loss that was measured last is believed
(``refresh="changed"``), so the forward passes of a round are those of the linears that the last one changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

import torch

from harness.errors import BudgetUnreachable, MeasurementFailed
from harness.methods.moments import module_of
from harness.methods.ranks import count_weights
from harness.progress import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import nn

    from harness.methods.low_rank import Factorisation
    from harness.methods.ranks import LinearSize, Ranks
    from harness.progress import Progress

RankedBy = Literal["loss", "loss-per-weight"]
"""``loss``: the rise itself (NICS). ``loss-per-weight``: over the weights that the step saves."""
Refresh = Literal["changed", "all"]
"""Which linears are measured in a round: those that changed since they were last, or all of them (NICS)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopKSettings:
    """The search's numbers; the defaults are NICS's, but for ``refresh``."""

    step_fraction: float = 0.15
    """Share of a linear's weights that one step takes."""
    top_k: int = 5
    """Linears that step in one round."""
    minimum_fraction: float = 0.05
    """A share of that much or less is not tried."""
    ranked_by: RankedBy = "loss"
    refresh: Refresh = "changed"
    multiple: int = 1
    """Ranks are multiples of it."""
    whole_rounds: bool = False
    """Let the last round take all its K steps, however far under the limit that leads (NICS). If not, the search ends
    with the step that reaches the limit, and that linear gets back what the limit leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Ranks, and what it cost to find them."""

    ranks: Ranks
    factorisation_count: int
    """Matrices that were decomposed; the original would have decomposed one for every trial."""
    trial_count: int
    """Passes over the calibration set, the first included."""
    round_count: int


class Probe(Protocol):
    """A model whose linears can be set to ranks."""

    @property
    def factorisation_count(self) -> int:
        """Linears factorised so far."""

    @property
    def trial_count(self) -> int:
        """Losses measured so far."""

    def set(self, path: str, rank: int | None) -> None:
        """Compute ``path`` at ``rank`` from here on."""

    def loss(self) -> float:
        """Of the calibration set as the model is now."""


class ModelProbe:
    """A model in memory: a rank is tried by putting the product of both factors in the stead of a weight.

    Leave with ``restore``: then every weight is the one that it was.
    """

    def __init__(
        self, model: nn.Module, factorise: Callable[[str], Factorisation], loss: Callable[[nn.Module], float]
    ) -> None:
        self._model, self._factorise, self._loss = model, factorise, loss
        self._cache: dict[str, Factorisation] = {}
        self._dense: dict[str, torch.Tensor] = {}
        self.trial_count = 0

    @property
    def factorisation_count(self) -> int:
        """Linears factorised so far."""
        return len(self._cache)

    @torch.no_grad()
    def set(self, path: str, rank: int | None) -> None:
        """Compute ``path`` at ``rank`` from here on; None: with its own weight."""
        weight = module_of(self._model, path).weight
        if not isinstance(weight, torch.Tensor):
            raise TypeError(f"{path} has no weight")
        if path not in self._dense:
            self._dense[path] = weight.detach().clone()
        if rank is None:
            weight.copy_(self._dense[path])
            return
        if path not in self._cache:
            self._cache[path] = self._factorise(path)
        left, right = self._cache[path].cut(rank)
        weight.copy_(left.to(weight) @ right.to(weight))

    def loss(self) -> float:
        """Of the calibration set as the model is now; raises ``MeasurementFailed`` where it is not finite."""
        self.trial_count += 1
        with torch.no_grad():
            value = self._loss(self._model)
        if value != value or value in {float("inf"), -float("inf")}:  # noqa: PLR0124 - NaN
            raise MeasurementFailed(f"the loss of the calibration set is {value} at trial {self.trial_count}")
        return value

    def restore(self) -> None:
        """Every weight as it was."""
        for path in self._dense:
            self.set(path, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A linear at its next share."""

    path: str
    share: float
    rank: int


@dataclass(slots=True)
class _State:
    """Where the search stands."""

    shares: dict[str, float]
    ranks: Ranks
    rises: dict[str, float] = field(default_factory=dict)
    """Of each linear, what its next step adds to the loss, as measured last."""


def search_top_k(
    linears: Sequence[LinearSize],
    weight_limit: int,
    probe: Probe,
    settings: TopKSettings | None = None,
    progress: Progress = silent,
) -> SearchResult:
    """Ranks at which ``linears`` together have at most ``weight_limit`` weights.

    Deterministic: of equal losses the linear that comes first steps first. The probe is left at the ranks found.

    Args:
        linears: That may be factorised, in the order in which ties are decided.
        weight_limit: Weights of all of them together.
        probe: All linears dense.
        settings: The search's numbers.
        progress: Told how far the weights have come down.

    Raises:
        BudgetUnreachable: every linear is at its smallest share and the limit is not reached.
    """
    return _Search(linears, weight_limit, probe, settings or TopKSettings(), progress).run()


class _Search:
    def __init__(
        self,
        linears: Sequence[LinearSize],
        weight_limit: int,
        probe: Probe,
        settings: TopKSettings,
        progress: Progress,
    ) -> None:
        self.linears, self.limit, self.probe = linears, weight_limit, probe
        self.settings, self.progress = settings, progress
        self.sizes = {linear.path: linear for linear in linears}
        paths = list(self.sizes)
        self.state = _State(shares=dict.fromkeys(paths, 1.0), ranks=dict.fromkeys(paths))

    def run(self) -> SearchResult:
        whole = count_weights(self.linears, {})
        loss, rounds = self.probe.loss() if whole > self.limit else 0.0, 0
        while (left := self._count()) > self.limit:
            self.progress("searching ranks", whole - left, whole - self.limit, f"loss {loss:.4f}")
            ranked = self._ranked(loss)
            if not ranked:
                raise BudgetUnreachable(
                    f"{self.limit:,} weights cannot be reached: with every linear at its smallest share (over "
                    f"{self.settings.minimum_fraction:g}) {left:,} are left; raise the budget, or cut widths first"
                )
            self._commit(ranked[: self.settings.top_k])
            loss, rounds = self.probe.loss(), rounds + 1
        return SearchResult(
            ranks=dict(self.state.ranks),
            factorisation_count=self.probe.factorisation_count,
            trial_count=self.probe.trial_count,
            round_count=rounds,
        )

    def _ranked(self, loss: float) -> list[_Step]:
        """The next step of every linear that has one, the one that is minded least first."""
        steps = {path: step for path in self.sizes if (step := self._next(path)) is not None}
        if self.settings.refresh == "all":
            self.state.rises.clear()
        for path, step in steps.items():
            if path not in self.state.rises:
                self.probe.set(path, step.rank)
                self.state.rises[path] = self.probe.loss() - loss
                self.probe.set(path, self.state.ranks[path])
        return [steps[path] for path in sorted(steps, key=lambda path: self._cost(steps[path]))]

    def _cost(self, step: _Step) -> float:
        rise = self.state.rises[step.path]
        if self.settings.ranked_by == "loss":
            return rise
        size = self.sizes[step.path]
        return rise / (size.weights(self.state.ranks[step.path]) - size.weights(step.rank))

    def _next(self, path: str) -> _Step | None:
        """The next step; None where there is none left."""
        return _step_after(self.sizes[path], self.state.shares[path], self.state.ranks[path], self.settings)

    def _commit(self, steps: Sequence[_Step]) -> None:
        for step in steps:
            before = self.state.ranks[step.path]
            self.state.shares[step.path] = step.share
            self._put(step.path, step.rank)
            if self._count() <= self.limit and not self.settings.whole_rounds:
                self._put(step.path, self._back(step, before))
                return

    def _put(self, path: str, rank: int | None) -> None:
        self.state.ranks[path] = rank
        self.state.rises.pop(path, None)
        self.probe.set(path, rank)

    def _back(self, step: _Step, before: int | None) -> int:
        """The largest rank of the linear below ``before`` that the limit allows."""
        size = self.sizes[step.path]
        most = size.largest_rank if before is None else before - 1
        room = self.limit - self._count() + size.weights(step.rank)
        return max(min(room // size.rank_count, most) // self.settings.multiple * self.settings.multiple, step.rank)

    def _count(self) -> int:
        return count_weights(self.linears, self.state.ranks)


def possible_ranks(linear: LinearSize, settings: TopKSettings) -> list[int | None]:
    """The ranks that the search may walk ``linear`` through, dense first; sizes alone decide them."""
    found: list[int | None] = [None]
    step = _step_after(linear, 1.0, None, settings)
    while step is not None:
        found.append(step.rank)
        step = _step_after(linear, step.share, step.rank, settings)
    return found


def _step_after(size: LinearSize, share: float, now: int | None, settings: TopKSettings) -> _Step | None:
    """The next smaller rank; None where the smallest share is reached."""
    while (share := share - settings.step_fraction) > settings.minimum_fraction:
        rank = size.rank_of(share, settings.multiple)
        if rank is not None and (now is None or rank < now):
            return _Step(path=size.path, share=share, rank=rank)
    return None


def losses_by_fraction(
    linears: Sequence[LinearSize], fractions: Sequence[float], probe: Probe
) -> dict[str, Mapping[float, float]]:
    """The loss with each linear alone at each share, for ``ranks.ranks_by_threshold``; the probe is left dense."""
    found: dict[str, Mapping[float, float]] = {}
    for linear in linears:
        found[linear.path] = losses = {}
        for fraction in fractions:
            probe.set(linear.path, linear.rank_of(fraction))
            losses[fraction] = probe.loss()
        probe.set(linear.path, None)
    return found
