"""Training a part of the ranks of factorised linears, and putting the parts together again.

    A B x + b   ──split──>   A_frozen B_frozen x + A_trained B_trained x + b   ──merge──>   A B x + b
    ranks 0 .. r-1           0 .. r-t-1             r-t .. r-1 (the weakest directions: NICS), or the strongest

Before training both sides compute the same but for the order of additions. A frozen part gets no gradient, so no
optimizer moves it, whatever its decay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeGuard

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

Side = Literal["tail", "head"]
"""Which directions are trained: the weakest or the strongest."""


class Factors(nn.Module):
    """What a factorised linear looks like, as structured models have them: ``A (B x)``, the bias in A."""

    A: nn.Linear
    B: nn.Linear


class SlicedFactors(nn.Module):
    """A factorised linear in two parts, one of them frozen."""

    def __init__(self, whole: Factors, trained_count: int, side: Side) -> None:
        super().__init__()
        rank = whole.A.in_features
        if not 1 <= trained_count <= rank:
            raise ValueError(f"trained ranks must be in 1..{rank}, got {trained_count}")
        places = torch.arange(rank)
        chosen = places >= rank - trained_count if side == "tail" else places < trained_count
        self.side: Side = side
        self.frozen = _part(whole, places[~chosen])
        self.trained = _part(whole, places[chosen])
        self.bias = whole.A.bias
        self.frozen.requires_grad_(requires_grad=False)
        # In a list, so that it is no module of this one; without its weights, so that they are not held twice.
        self._whole = [whole]
        for linear in (whole.A, whole.B):
            linear.weight = nn.Parameter(linear.weight.detach().new_empty(0), requires_grad=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``."""
        output: Tensor = self.trained(hidden)
        if len(self.frozen):
            output = output + self.frozen(hidden)
        return output if self.bias is None else output + self.bias

    @torch.no_grad()
    def merged(self) -> Factors:
        """The linear that it was made from, with the weights of both parts and every direction where it was."""
        parts = (self.frozen, self.trained) if self.side == "tail" else (self.trained, self.frozen)
        whole, weights = self._whole[0], [tuple(part.parameters()) for part in parts if len(part)]
        whole.A.weight = nn.Parameter(torch.cat([left for _, left in weights], dim=1))
        whole.B.weight = nn.Parameter(torch.cat([right for right, _ in weights]))
        return whole


def split(model: nn.Module, trained_fraction: float, *, side: Side = "tail") -> tuple[str, ...]:
    """Freeze all but ``int(rank * trained_fraction)`` directions (at least one) of each factorised linear, in place.

    Args:
        model: Its factorised linears are modules with two linears ``A`` and ``B``.
        trained_fraction: Of every rank, more than 0 and at most 1.
        side: Which directions are trained.

    Returns:
        Paths of the factorised linears; none where the model has none.

    Raises:
        ValueError: ``trained_fraction`` is out of range.
    """
    if not 0 < trained_fraction <= 1:
        raise ValueError(f"trained_fraction must be more than 0 and at most 1, got {trained_fraction}")
    found = [(path, module) for path, module in model.named_modules() if is_factorised(module)]
    for path, module in found:
        count = max(1, int(module.A.in_features * trained_fraction))
        model.set_submodule(path, SlicedFactors(module, count, side))
    return tuple(path for path, _ in found)


def merge(model: nn.Module) -> tuple[str, ...]:
    """Undo every ``split`` in ``model``, in place, with the weights as they are now; returns the linears' paths."""
    found = [(path, module) for path, module in model.named_modules() if isinstance(module, SlicedFactors)]
    for path, module in found:
        model.set_submodule(path, module.merged())
    return tuple(path for path, _ in found)


def is_factorised(module: nn.Module) -> TypeGuard[Factors]:
    """Whether ``module`` is a linear stored as two."""
    parts = (getattr(module, name, None) for name in ("A", "B"))
    return all(isinstance(part, nn.Linear) for part in parts)


def _part(whole: Factors, places: Tensor) -> nn.Sequential:
    """The directions ``places`` alone: B, then A, no bias; empty where there are none."""
    if not len(places):
        return nn.Sequential()
    below = nn.Linear(whole.B.in_features, len(places), bias=False, device="meta")
    above = nn.Linear(len(places), whole.A.out_features, bias=False, device="meta")
    below.weight = nn.Parameter(whole.B.weight.detach()[places].clone())
    above.weight = nn.Parameter(whole.A.weight.detach()[:, places].clone())
    return nn.Sequential(below, above)
