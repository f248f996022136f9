"""The parts of the graph that is exported: linears, norms and activations as XNNPACK takes them whole.

Parameters are on the meta device until ``step.give`` puts a checkpoint's in their place, under the same names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import UsageError
from harness.surgery.table import LAYER_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.checkpoint.structure import Block
    from harness.surgery.anatomy import Anatomy

VECTOR: Final = 1


def silu(units: Tensor) -> Tensor:
    """``x sigmoid(x)``."""
    return units * torch.sigmoid(units)


def gelu_tanh(units: Tensor) -> Tensor:
    """GELU by tanh, written with a sigmoid: ``(1 + tanh y) / 2 = sigmoid(2 y)``."""
    return units * torch.sigmoid(units * (1.5957691216057308 + 0.07135481627260025 * units * units))


ACTIVATIONS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "silu": silu,
    "swish": silu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "gelu": functional.gelu,
    "relu": functional.relu,
}


class Linear(nn.Module):
    """``W x + b``, the weight yet to be given."""

    def __init__(self, outputs: int, inputs: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, device="meta"))
        self.bias = nn.Parameter(torch.empty(outputs, device="meta")) if bias else None

    def forward(self, hidden: Tensor) -> Tensor:
        """``[n, inputs]`` to ``[n, outputs]``."""
        return functional.linear(hidden, self.weight, self.bias)


class Factorised(nn.Module):
    """``A (B x) + b``."""

    def __init__(self, outputs: int, rank: int, inputs: int, *, bias: bool) -> None:
        super().__init__()
        self.A = Linear(outputs, rank, bias=bias)
        self.B = Linear(rank, inputs, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[n, inputs]`` to ``[n, outputs]``."""
        return cast("Tensor", self.A(self.B(hidden)))


class Norm(nn.Module):
    """RMSNorm, or LayerNorm where ``centred``, in FP32."""

    average: Tensor

    def __init__(self, size: int, epsilon: float, *, centred: bool, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, device="meta"))
        self.bias = nn.Parameter(torch.empty(size, device="meta")) if bias else None
        self.register_buffer("average", torch.full((1, size), 1 / size), persistent=False)
        self.epsilon, self.centred = epsilon, centred

    def forward(self, hidden: Tensor) -> Tensor:
        """``[..., size]`` to ``[..., size]``."""
        exact = hidden.float()
        if self.centred:
            exact = exact - functional.linear(exact, self.average)
        variance = functional.linear(exact * exact, self.average)
        normed = (exact * torch.rsqrt(variance + self.epsilon)).to(hidden.dtype) * self.weight
        return normed if self.bias is None else normed + self.bias


class Unit(nn.Module):
    """Vectors divided by their lengths, in FP32."""

    ones: Tensor

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.register_buffer("ones", torch.ones(1, size), persistent=False)
        self.smallest = epsilon * epsilon

    def forward(self, vectors: Tensor) -> Tensor:
        """``[..., size]`` to ``[..., size]``."""
        exact = vectors.float()
        return exact * torch.rsqrt(functional.linear(exact * exact, self.ones) + self.smallest)


class Move(nn.Module):
    """On the unit sphere, by a share of each dimension towards an output and back onto the sphere (nGPT)."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, device="meta"))
        self.unit = Unit(size, epsilon)

    def forward(self, hidden: Tensor, output: Tensor) -> Tensor:
        """Both ``[n, size]``; ``hidden`` after the move."""
        exact = hidden.float()
        moved = exact + self.weight.float() * (self.unit(output) - exact)
        return cast("Tensor", self.unit(moved)).to(hidden.dtype)


class HeadScale(nn.Module):
    """Heads as unit vectors, each dimension times a factor that the heads of a KV group share."""

    def __init__(self, size: int, head_dim: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, device="meta"))
        self.unit, self.head_dim = Unit(head_dim, epsilon), head_dim

    def forward(self, states: Tensor) -> Tensor:
        """``[n, heads, d]`` of any lengths."""
        factors = self.weight.float().view(-1, 1, self.head_dim)
        exact: Tensor = self.unit(states).view(states.shape[0], factors.shape[0], -1, self.head_dim)
        return (exact * factors).view(states.shape).to(states.dtype)


def activation_of(anatomy: Anatomy) -> Callable[[Tensor], Tensor]:
    """The activation that the configuration names; raises ``UsageError`` where it is none of ours."""
    field = anatomy.table.block.activation
    name = str(anatomy.config.get(field))
    if name not in ACTIVATIONS:
        allowed = ", ".join(ACTIVATIONS)
        raise UsageError(f"config.json: {field} must be one of {allowed} for an ExecuTorch package, found {name!r}")
    return ACTIVATIONS[name]


def layer_modules(anatomy: Anatomy, index: int) -> dict[str, nn.Module]:
    """The linears and norms of a layer by their names within it."""
    sizes, prefix = anatomy.sizes_in(index), LAYER_PREFIX.format(layer=index)
    modules: dict[str, nn.Module] = {}
    for tensor in anatomy.tensors.values():
        if tensor.layer != index or tensor.leaf not in {"weight", "A.weight"}:
            continue
        name, shape = tensor.module, tensor.shape(sizes)
        if tensor.leaf == "A.weight":
            inputs = anatomy.tensors[f"{prefix}{name}.B.weight"].shape(sizes)[1]
            bias = f"{prefix}{name}.A.bias" in anatomy.tensors
            modules[name] = Factorised(shape[0], shape[1], inputs, bias=bias)
        elif len(shape) == VECTOR:
            modules[name] = make_vector(anatomy, name, shape[0], prefix)
        else:
            modules[name] = Linear(*shape, bias=f"{prefix}{name}.bias" in anatomy.tensors)
    return modules


def make_vector(anatomy: Anatomy, name: str, size: int, prefix: str) -> nn.Module:
    """The module of a layer whose weight is a vector: a norm, or what a block on the sphere has in its place."""
    block = anatomy.table.block
    if block.norm != "sphere":
        return make_norm(anatomy, size, f"{prefix}{name}.")
    epsilon = float(anatomy.config[block.norm_epsilon])
    if name == block.query_key_scale:
        return HeadScale(size, anatomy.sizes["head_dim"], epsilon)
    return Move(size, epsilon)


def make_norm(anatomy: Anatomy, size: int, prefix: str) -> Norm:
    """A norm of the architecture's kind, with a bias where the checkpoint stores one under ``prefix``."""
    block: Block = anatomy.table.block
    epsilon = float(anatomy.config[block.norm_epsilon])
    return Norm(size, epsilon, centred=block.norm == "layer", bias=f"{prefix}bias" in anatomy.tensors)
