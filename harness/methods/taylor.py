"""What the loss would be without a unit, by its Taylor series in the unit's weights (LLM-Pruner, Ma et al. 2023).

    L(w + d) - L(w)  ~  sum g d + 1/2 sum d H d,   d = -w,   H ~ mean over batches of g_b^2  (diagonal Fisher)

    order        score of a unit, sums over its weights in all coupled tensors      LLM-Pruner calls it
    first        sum |w g|                                                          param_first
    vectorized   sum over rows (columns of a way out) of |sum w g|                  vectorize
    unit         |sum w g|, the first-order change itself                           -
    second       sum |w H w|                                                        param_second
    mixed        sum |w g - 1/2 w H w|                                              param_mix

Never is more kept than an order needs. ``vectorized``, ``unit`` and ``second`` are linear in g or g^2 and are added up
by unit as each gradient arrives; ``first`` and ``mixed`` keep one, two numbers per weight until the last batch. A
gradient is let go as soon as it is added, so a backward pass holds that of one tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import numpy as np
import torch

from harness.methods.units import UnitScores, is_exit, layer_tensors, parameter_of, places, zero_scores
from harness.surgery.dimension import unit_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from harness.surgery.anatomy import Anatomy
    from harness.surgery.dimension import Block, Dimension
    from harness.surgery.linear import Tensor

Order = Literal["first", "vectorized", "unit", "second", "mixed"]
Weights = Literal["coupled", "exit"]
"""``coupled``: all that goes with the unit, as published. ``exit``: only the columns that it leaves through; to take
these to zero is exactly to remove the unit, so that ``unit`` is the true slope of the loss along the removal, where
``coupled`` counts it once for every matrix on the unit's way."""
Compat = Literal["llm-pruner-gqa"]

BatchT = TypeVar("BatchT")
Loss: TypeAlias = Callable[["nn.Module", BatchT], torch.Tensor]
"""A scalar; the loss of the calibration set is the mean over its batches, each counting alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaylorSettings:
    """Which of the scores, and how much memory they may take."""

    order: Order = "first"
    weights: Weights = "coupled"
    compat: Compat | None = None
    """``llm-pruner-gqa`` repeats a mistake of LLM-Pruner's code, to reproduce what was published with it. To bring the
    scores of query rows and output columns (KV groups * heads * head size) to the length of those of keys and values,
    it takes them for an array [heads per group, KV groups, head size] and adds over the first axis. So it gives KV
    group j the query heads j, j + groups, j + 2 * groups, ..., where group j owns the heads from j * heads per group
    up to (j + 1) * heads per group. Units are cut along the right borders there, too. Only ``kv_group`` is affected,
    and only where groups and heads per group both exceed one."""
    layers_at_once: int | None = None
    """Layers scored in one pass over the batches; fewer take less memory and more passes. None: all."""


def taylor(  # noqa: PLR0913 - model, what, from what, how
    model: nn.Module,
    anatomy: Anatomy,
    axes: Sequence[str],
    batches: Sequence[BatchT],
    loss: Loss[BatchT],
    *,
    settings: TaylorSettings | None = None,
) -> UnitScores:
    """Taylor scores of the units of ``axes`` in every layer.

    A gradient that is not finite makes the scores of its units not finite; gradients of FP16 weights underflow, so use
    FP32, BF16, or a scaled loss.

    Args:
        model: What ``anatomy`` describes, its mode left as it is. Gradient checkpointing may be on.
        anatomy: Of the model.
        axes: ``intermediate``, ``kv_group``, ``head``.
        batches: Of calibration; each is one backward pass, and one sample of the Fisher information.
        loss: Of one batch.
        settings: Which score; the defaults are LLM-Pruner's.

    Raises:
        ValueError: no batches, an axis that is no layer's, a model of another shape, or weights that the loss does not
            depend on.
    """
    settings = settings or TaylorSettings()
    scores = zero_scores(anatomy, axes)
    if not batches:
        raise ValueError("batches must be at least one, got none")
    for layers in _portions(anatomy.layer_count, settings.layers_at_once):
        tallies = tallies_of(partial(parameter_of, model), anatomy, scores, layers, settings, len(batches))
        _run(model, tallies, batches, loss)
        for tally in tallies:
            tally.add_to(scores, anatomy, settings.compat)
    return finished(scores, settings)


def finished(scores: UnitScores, settings: TaylorSettings) -> UnitScores:
    """``scores`` when all tallies are added: of the order ``unit`` it is the magnitude that counts."""
    if settings.order == "unit":
        return {axis: [np.abs(values) for values in layers] for axis, layers in scores.items()}
    return scores


class Tally:
    """What one tensor adds to the scores of its units, from one gradient after the other."""

    def __init__(  # noqa: PLR0913, PLR0917 - all that it needs to know
        self,
        weight: nn.Parameter,
        tensor: Tensor,
        layer: int,
        where: Mapping[str, int],
        order: Order,
        batch_count: int,
    ) -> None:
        self.weight, self.tensor = weight, tensor
        self.arrived = 0
        self._layer, self._where, self._order, self._batch_count = layer, where, order, batch_count
        self._sums: dict[int, torch.Tensor] = {}
        self._gradient: torch.Tensor | None = None
        self._square: torch.Tensor | None = None

    @torch.no_grad()
    def take(self, parameter: torch.Tensor) -> None:
        """Add the gradient of ``parameter`` and let go of it: a hook after it is complete."""
        gradient, parameter.grad = parameter.grad, None
        assert gradient is not None  # noqa: S101 - there is one when the hook is called
        gradient = gradient.to(torch.promote_types(gradient.dtype, torch.float32)) / self._batch_count
        self.arrived += 1
        match self._order:
            case "vectorized" | "unit":
                self._add(self.weight * gradient)
            case "second":
                # w H w, summed: the mean over batches of (w g)^2, and gradients came divided by their number.
                self._add((self.weight * gradient).square_() * self._batch_count)
            case "first" | "mixed":
                self._keep(gradient)

    def add_to(self, scores: UnitScores, anatomy: Anatomy, compat: Compat | None) -> None:
        """Add the sums of this tensor's units to ``scores``."""
        sizes = anatomy.sizes_in(self._layer)
        for axis, place in self._where.items():
            values: NDArray[np.float64] = self._sums[place].cpu().numpy()
            values = np.abs(values) if self._order == "vectorized" else values
            dimension = self.tensor.dimensions[place]
            if compat == "llm-pruner-gqa" and axis == "kv_group":
                dimension = _misaligned(dimension)
            scores[axis][self._layer] += unit_sums(dimension, axis, sizes, values)

    def _keep(self, gradient: torch.Tensor) -> None:
        """Add up gradients, and their squares if asked; after the last batch, the sums, and nothing is kept."""
        if self._order == "mixed":
            square = gradient.square() * self._batch_count
            self._square = square if self._square is None else self._square.add_(square)
        self._gradient = gradient if self._gradient is None else self._gradient.add_(gradient)
        if self.arrived == self._batch_count:
            change = self._gradient.mul_(self.weight)
            if self._square is not None:
                change -= self._square.mul_(self.weight).mul_(self.weight).mul_(0.5)
            self._add(change.abs_())
            self._gradient = self._square = None

    def _add(self, values: torch.Tensor) -> None:
        """Add ``values`` of every weight up along the dimensions that units lie in, in FP64."""
        for place in set(self._where.values()):
            others = [dimension for dimension in range(values.ndim) if dimension != place]
            sums = values.sum(others, dtype=torch.float64) if others else values.double()
            self._sums[place] = self._sums[place] + sums if place in self._sums else sums


def tallies_of(  # noqa: PLR0913, PLR0917 - as taylor
    find: Callable[[Tensor], nn.Parameter],
    anatomy: Anatomy,
    axes: Mapping[str, object],
    layers: range,
    settings: TaylorSettings,
    batch_count: int,
) -> list[Tally]:
    """One for each tensor of ``layers`` that ``axes`` reach into, its parameter by ``find``."""
    tallies = []
    for layer, tensor in layer_tensors(anatomy):
        where = places(tensor, axes)
        if settings.weights == "exit":
            where = {axis: place for axis, place in where.items() if is_exit(anatomy, tensor, axis)}
        if where and layer in layers:
            tallies.append(Tally(find(tensor), tensor, layer, where, settings.order, batch_count))
    return tallies


def _run(model: nn.Module, tallies: Sequence[Tally], batches: Sequence[BatchT], loss: Loss[BatchT]) -> None:
    """A backward pass for each batch; every tally takes one gradient of each."""
    with _gradients_of(model, [tally.weight for tally in tallies]), taking(tallies):
        for done, batch in enumerate(batches, start=1):
            with torch.enable_grad():
                loss(model, batch).backward()  # type: ignore[no-untyped-call]
            check_arrivals(tallies, done)


@contextmanager
def taking(tallies: Sequence[Tally]) -> Iterator[None]:
    """Within the block every gradient of a tally's weight goes to the tally as soon as it is complete."""
    with ExitStack() as stack:
        for tally in tallies:
            hook = tally.weight.register_post_accumulate_grad_hook(tally.take)  # type: ignore[no-untyped-call]
            stack.callback(hook.remove)
        yield


def check_arrivals(tallies: Sequence[Tally], done: int) -> None:
    """Raise ``ValueError`` where a tally has not had one gradient of each of ``done`` backward passes."""
    for tally in tallies:
        if tally.arrived != done:
            raise ValueError(
                f"{tally.tensor.name}: backward passes must bring a gradient each, found {tally.arrived} from {done}; "
                "does the loss depend on the layer, once, and does gradient checkpointing run with use_reentrant=False?"
            )


@contextmanager
def _gradients_of(model: nn.Module, wanted: Sequence[nn.Parameter]) -> Iterator[None]:
    """Gradients of ``wanted`` alone; what required them before, and gradients that stood there, come back."""
    before = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    chosen = {id(parameter) for parameter in wanted}
    try:
        for parameter, _, _ in before:
            parameter.grad = None
            parameter.requires_grad_(id(parameter) in chosen)
        yield
    finally:
        for parameter, required, gradient in before:
            parameter.requires_grad_(required)
            parameter.grad = gradient


def _portions(layer_count: int, at_once: int | None) -> list[range]:
    width = layer_count if at_once is None else at_once
    if width < 1:
        raise ValueError(f"layers_at_once must be at least 1, got {width}")
    return [range(first, min(first + width, layer_count)) for first in range(0, layer_count, width)]


def _misaligned(dimension: Dimension) -> Dimension:
    """``dimension`` as if heads came before the groups that own them."""
    swapped = {"kv_group": "head", "head": "kv_group"}

    def block(axes: Block) -> Block:
        return tuple(swapped.get(axis, axis) for axis in axes) if swapped.keys() <= set(axes) else axes

    return tuple(block(axes) for axes in dimension)
