"""The layers of a stock Llama, Qwen2 or Phi as a table of weights, what is read together lying together.

    llama, qwen2   x + out(attention(qkv(norm x))) = y,  y + down(act(gate) * up)(norm y)
    phi            x + out(attention(qkv(norm x))) + fc2(act(fc1(norm x)))            one norm, part of a head rotated

Fusing moves the checkpoint's weights into one tensor and leaves views of it in the model, so nothing lies twice.
"""

# ruff: noqa: ANN401 - transformers' modules, by their attributes

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STOCK = ("LlamaForCausalLM", "Qwen2ForCausalLM", "PhiForCausalLM")
STATIC_ROPE = ("default", "linear", "llama3", "yarn")
"""Kinds of rotation whose frequencies do not depend on the length of the text."""

Norm = "Callable[[Tensor], Tensor]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """``x W^T + b``."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, hidden: Tensor) -> Tensor:
        """``[..., in] -> [..., out]``."""
        return functional.linear(hidden, self.weight, self.bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer."""

    norm: Callable[[Tensor], Tensor]
    attention_in: Linear
    """Queries, keys and values, one above the other."""
    attention_out: Linear
    mlp_norm: Callable[[Tensor], Tensor] | None
    """None: the MLP takes what the attention takes, beside it."""
    mlp_in: Linear
    """Gate above up where the MLP is gated."""
    mlp_out: Linear
    gated: bool
    activation: Callable[[Tensor], Tensor]

    def mlp(self, hidden: Tensor) -> Tensor:
        """``[..., D] -> [..., D]``."""
        inner = self.mlp_in(hidden)
        if not self.gated:
            return self.mlp_out(self.activation(inner))
        gate, up = inner.chunk(2, dim=-1)
        return self.mlp_out(self.activation(gate) * up)


def is_lean(model: Any) -> bool:
    """Whether ``model`` is a stock one with nothing about it that `read_layers` does not know."""
    config = model.config
    if type(model).__name__ not in STOCK or not type(model).__module__.startswith("transformers."):
        return False
    linears = [module for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    plain = all(type(module) is nn.Linear and module.weight.is_floating_point() for module in linears)
    hooked = any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())  # noqa: SLF001 - torch has no public way to ask
    one_place = len({parameter.device for parameter in model.parameters()}) == 1
    rope = config.rope_parameters["rope_type"] in STATIC_ROPE
    whole = all(kind == "full_attention" for kind in getattr(config, "layer_types", None) or ())
    return plain and not hooked and one_place and rope and whole and not getattr(config, "qk_layernorm", False)


def read_layers(model: Any) -> tuple[Layer, ...]:
    """The layers of a model that `is_lean`; its linears become views of the fused ones."""
    read = _read_phi if type(model).__name__ == "PhiForCausalLM" else _read_llama
    return tuple(read(layer) for layer in model.model.layers)


def final_norm(model: Any) -> Callable[[Tensor], Tensor]:
    """What stands before the head."""
    body = model.model
    return _norm(body.final_layernorm if type(model).__name__ == "PhiForCausalLM" else body.norm)


def _read_llama(layer: Any) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return Layer(
        norm=_norm(layer.input_layernorm),
        attention_in=_fused([attention.q_proj, attention.k_proj, attention.v_proj]),
        attention_out=_linear(attention.o_proj),
        mlp_norm=_norm(layer.post_attention_layernorm),
        mlp_in=_fused([mlp.gate_proj, mlp.up_proj]),
        mlp_out=_linear(mlp.down_proj),
        gated=True,
        activation=mlp.act_fn,
    )


def _read_phi(layer: Any) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return Layer(
        norm=_norm(layer.input_layernorm),
        attention_in=_fused([attention.q_proj, attention.k_proj, attention.v_proj]),
        attention_out=_linear(attention.dense),
        mlp_norm=None,
        mlp_in=_linear(mlp.fc1),
        mlp_out=_linear(mlp.fc2),
        gated=False,
        activation=mlp.activation_fn,
    )


def _norm(module: Any) -> Callable[[Tensor], Tensor]:
    """In FP32 torch's fused RMS norm is the same arithmetic; in less, transformers rounds in a place of its own."""
    if isinstance(module, nn.LayerNorm) or module.weight.dtype != torch.float32:
        norm: Callable[[Tensor], Tensor] = module
        return norm
    weight, epsilon = module.weight.data, module.variance_epsilon

    def rms_norm(hidden: Tensor) -> Tensor:
        return functional.rms_norm(hidden, weight.shape, weight, epsilon)

    return rms_norm


def _linear(module: nn.Linear) -> Linear:
    return Linear(weight=module.weight.data, bias=None if module.bias is None else module.bias.data)


def _fused(modules: Sequence[nn.Linear]) -> Linear:
    weight = _joined([module.weight for module in modules])
    biases: list[Tensor] = [module.bias for module in modules if module.bias is not None]
    return Linear(weight=weight, bias=_joined(biases) if biases else None)


def _joined(parameters: Sequence[Tensor]) -> Tensor:
    whole = torch.cat([parameter.data for parameter in parameters])
    parts = torch.split(whole, [len(parameter) for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.data = part
    return whole
