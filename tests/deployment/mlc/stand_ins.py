"""Stand-ins, written with torch, for the few classes of tvm and mlc_llm that a generated definition imports.

They compute at once what tvm would compile. That the definition runs on them shows its arithmetic and its names, not
that mlc_llm takes it.
"""

from __future__ import annotations

import dataclasses
import sys
import types
from typing import Any

import torch
from torch.nn import functional


class Tensor(torch.Tensor):
    """With the one method that torch calls otherwise."""

    def astype(self, dtype):
        return self.to(getattr(torch, dtype))


def tensor(value):
    return value.as_subclass(Tensor)


class Module:
    def __call__(self, *args):
        return self.forward(*args)

    def to(self, dtype=None):
        del dtype  # what is computed here is FP32

    def named_parameters(self, prefix=""):
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield prefix + name, value
            elif isinstance(value, Module):
                yield from value.named_parameters(f"{prefix}{name}.")

    def export_tvm(self, spec, allow_extern):
        assert allow_extern
        assert "create_paged_kv_cache" in spec
        return None, list(self.named_parameters()), None


class Parameter:
    """A shape that gets its value later."""

    def __init__(self, shape):
        self.shape, self.dtype, self.value = tuple(shape), "float32", None

    def astype(self, dtype):
        return tensor(self.value).astype(dtype)


class ModuleList(Module):
    def __init__(self, modules):
        vars(self).update({str(place): module for place, module in enumerate(modules)})

    def __iter__(self):
        return iter(vars(self).values())


class Linear(Module):
    def __init__(self, in_features, out_features, bias=True):
        self.weight = Parameter((out_features, in_features))
        self.bias = Parameter((out_features,)) if bias else None

    def forward(self, x):
        return functional.linear(x, self.weight.value, None if self.bias is None else self.bias.value)


class RMSNorm(Module):
    def __init__(self, size, axes, epsilon, bias):
        assert (axes, bias) == (-1, False)
        self.weight, self.epsilon = Parameter((size,)), epsilon

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon) * self.weight.value


class LayerNorm(Module):
    def __init__(self, size, eps):
        self.weight, self.bias, self.eps = Parameter((size,)), Parameter((size,)), eps

    def forward(self, x):
        return functional.layer_norm(x, x.shape[-1:], self.weight.value, self.bias.value, self.eps)


class Embedding(Module):
    def __init__(self, count, size):
        self.weight = Parameter((count, size))

    def forward(self, ids):
        return tensor(functional.embedding(ids, self.weight.value))


def value_of(x):
    return x.value if isinstance(x, Parameter) else x


def split(x, cuts, axis):
    return torch.tensor_split(x, cuts, dim=axis)


def matmul(x, weight, out_dtype):
    assert out_dtype == "float32"
    return tensor(x @ weight)


OPERATIONS = {
    "silu": functional.silu,
    "relu": functional.relu,
    "gelu": lambda x, approximate: functional.gelu(x, approximate=approximate or "none"),
    "split": split,
    "concat": lambda parts, dim: torch.cat(list(parts), dim=dim),
    "reshape": lambda x, shape: x.reshape(shape),
    "zeros": lambda shape, dtype: torch.zeros(shape, dtype=dtype),
    "matmul": matmul,
    "permute_dims": lambda x: value_of(x).T,
    "take": lambda x, places, axis: x.index_select(axis, places),
}


@dataclasses.dataclass
class PagedKVCache:
    """Causal attention over one text that comes whole, with the head counts that the cache was made with."""

    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    qk_head_dim: int
    rope_theta: float
    rotary_dim: int
    rope_scaling: dict | None

    @staticmethod
    def create_generic(**settings):
        known = {field.name for field in dataclasses.fields(PagedKVCache)}
        assert settings["v_head_dim"] == settings["qk_head_dim"]
        return PagedKVCache(**{name: value for name, value in settings.items() if name in known})

    def attention_with_fused_qkv(self, layer_id, qkv, num_qo_heads, sm_scale):
        heads, kv = self.num_attention_heads, self.num_key_value_heads
        assert layer_id < self.num_hidden_layers
        assert num_qo_heads == heads
        assert qkv.shape[2:] == (heads + 2 * kv, self.qk_head_dim)
        query, key, value = (part.transpose(1, 2) for part in qkv.split([heads, kv, kv], dim=2))
        query, key = self.rotate(query), self.rotate(key)
        key, value = (part.repeat_interleave(heads // kv, dim=1) for part in (key, value))
        found = functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=sm_scale)
        return found.transpose(1, 2)

    def rotate(self, states):
        assert self.rope_scaling is None
        size = self.rotary_dim
        frequencies = self.rope_theta ** (-torch.arange(0, size, 2, dtype=torch.float32) / size)
        angles = torch.arange(states.shape[2])[:, None] * frequencies
        cos, sin = (torch.cat([part, part], -1) for part in (angles.cos(), angles.sin()))
        turned, rest = states[..., :size], states[..., size:]
        first, second = turned.chunk(2, -1)
        return torch.cat([turned * cos + torch.cat([-second, first], -1) * sin, rest], -1)


@dataclasses.dataclass
class ConfigBase:
    """Fields that a configuration has; others go to kwargs."""

    @classmethod
    def from_dict(cls, source):
        names = {field.name for field in dataclasses.fields(cls)} - {"kwargs"}
        return cls(**{name: value for name, value in source.items() if name in names})


class ExternMapping:
    def __init__(self):
        self.param_map = {}

    def add_mapping(self, name, sources, function):
        self.param_map[name] = (sources, function)


@dataclasses.dataclass
class Model:
    name: str
    config: Any
    model: Any
    source: dict
    quantize: dict


def module(name, **content):
    made = types.ModuleType(name)
    vars(made).update(content)
    return made


def modules():
    """Name to module of everything that a definition imports."""
    op = module("tvm.relax.frontend.nn.op", **OPERATIONS)
    spec = types.SimpleNamespace(
        Tensor=lambda *shape: shape,
        Object=lambda object_type: object_type,
        ModuleSpec=types.SimpleNamespace(from_raw=lambda functions, _: functions),
    )
    classes = (Module, Parameter, ModuleList, Linear, RMSNorm, LayerNorm, Embedding)
    nn = module("tvm.relax.frontend.nn", op=op, spec=spec, **{one.__name__: one for one in classes})
    configure = module("mlc_llm.op", configure=lambda: None)
    found = [
        module("tvm", te=module("tvm.te", Tensor=Tensor)),
        module("tvm.relax"),
        module("tvm.relax.frontend", nn=nn),
        nn,
        op,
        module("mlc_llm", op=configure),
        configure,
        module("mlc_llm.loader", ExternMapping=ExternMapping, QuantizeMapping=lambda *maps: maps),
        module("mlc_llm.model"),
        module("mlc_llm.model.model", MODELS={}, Model=Model),
        module("mlc_llm.nn", PagedKVCache=PagedKVCache, RopeMode=types.SimpleNamespace(NORMAL=1)),
        module("mlc_llm.support"),
        module("mlc_llm.support.config", ConfigBase=ConfigBase),
    ]
    return {one.__name__: one for one in found}


def run_definition(source, monkeypatch):
    """Run the source of a definition on the stand-ins: the ``Model`` that it registered."""
    standing = modules()
    for name, one in standing.items():
        monkeypatch.setitem(sys.modules, name, one)
    made = types.ModuleType("mlc_model")
    monkeypatch.setitem(sys.modules, "mlc_model", made)
    exec(compile(source, "mlc_model.py", "exec"), vars(made))  # noqa: S102 - our own source, under test
    (registered,) = standing["mlc_llm.model.model"].MODELS.values()
    return registered


def logits(registered, weights, token_ids):
    """``[1, tokens, vocab]`` of the registered model with ``weights``, by the name of its parameters."""
    config = registered.config.from_dict({"context_window_size": 64})
    quantization = types.SimpleNamespace(model_dtype="float16")
    mapping = registered.source["huggingface-safetensor"](config, quantization)
    model, _ = registered.quantize["no-quant"](config, quantization)
    parameters = dict(model.named_parameters())
    assert mapping.param_map.keys() == parameters.keys() == weights.keys()
    for name, parameter in parameters.items():
        assert mapping.param_map[name][0] == [name]
        assert parameter.shape == tuple(weights[name].shape)
        parameter.value = tensor(torch.from_numpy(weights[name].astype("float32")))
    cache = model.create_paged_kv_cache(1, 64, 16, 16, 0)
    with torch.no_grad():
        found, _ = model.batch_verify(model.embed(token_ids)[None], cache)
    return found.as_subclass(torch.Tensor)
