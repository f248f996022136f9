"""Numbers rounded as fewer bits would hold them, trained through (as LLM-QAT does, arXiv 2305.17888).

    row of x ──s = (2^(b-1) - 1) / max |x|──> round(s x) / s      2^b - 1 levels, zero among them
    gradient ──straight through where |x| <= 2, none beyond──>

Values stay floating point: nothing is stored in fewer bits, and what a device would gain is not gained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from torch.nn.utils import parametrize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

FULL_BITS: Final = 16
"""From here on nothing is rounded: what models are stored in."""
CLIP: Final = 2.0
"""LLM-QAT's bound of the values through which gradients pass."""


def fake_quantised(values: Tensor, bits: int, *, clip: float = CLIP) -> Tensor:
    """``values`` rounded symmetrically, each row (last dimension) at its own scale; differentiable straight through.

    Args:
        values: Of any shape.
        bits: 2 or more; from 16 on ``values`` themselves come back.
        clip: Beyond it, either way, a value has no gradient.

    Raises:
        ValueError: fewer than two bits.
    """
    if bits < 2:  # noqa: PLR2004 - one bit has no symmetric levels
        raise ValueError(f"bits must be at least 2, got {bits}")
    if bits >= FULL_BITS:
        return values
    rounded: Tensor = _Rounding.apply(values, bits, clip)  # type: ignore[no-untyped-call]
    return rounded


def quantise_weights(model: nn.Module, bits: Mapping[str, int]) -> None:
    """Let the linears of ``model``, by path, compute with weights of so many bits while they train; in place."""
    for path, width in bits.items():
        if width < FULL_BITS:
            parametrize.register_parametrization(model.get_submodule(path), "weight", _Quantised(width))


def settle(model: nn.Module) -> None:
    """Put the rounded weights in the stead of those that were trained; in place."""
    for module in model.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


class _Rounding(torch.autograd.Function):
    """Rounds forward, passes the gradient on within the clip."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, bits: int, clip: float) -> Tensor:  # noqa: ANN401 - autograd's own
        ctx.save_for_backward(values.abs() <= clip)
        largest = values.abs().amax(-1, keepdim=True)
        scale = (2 ** (bits - 1) - 1) / torch.where(largest == 0, 1.0, largest)
        rounded: Tensor = (values * scale).round() / scale
        return rounded

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        (is_inside,) = ctx.saved_tensors
        return gradient * is_inside, None, None


class _Quantised(nn.Module):
    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, weight: Tensor) -> Tensor:
        """The weight as so many bits would hold it."""
        return fake_quantised(weight, self.bits)
