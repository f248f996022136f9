# Copyright 2026 The Edge-LLM harness authors
# SPDX-License-Identifier: Apache-2.0
"""A causal language model whose layers may each have a shape of their own.

    config.json     what the layers share: hidden size, vocabulary, head size, rotation
    structure.json  how a layer is built, and of each layer: heads, intermediate units, fused and factorised linears

    sequential   x + attention(norm x) = y,  y + mlp(norm y)
    parallel     x + attention(norm x) + mlp(norm x)                 the same norm
    sphere       unit(x + a (unit(attention x) - x)) = y,  unit(y + b (unit(mlp y) - y))          nGPT, all of x unit
    exits        logits after several layers, by the same final norm and head, put to the vote:  max_e p_e / sum
    linear       W x + b,  or factorised  A (B x) + b;  fused: rows of several linears in one, split after

This file is complete in itself and the same for all such checkpoints; it needs torch and transformers, nothing else:
``AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)``.
Dimensions in comments: B batch, T tokens, D hidden, H query heads, K KV heads, d head size, r rotated part of a head.
"""

# mypy: disable-error-code="no-untyped-call, untyped-decorator"
from __future__ import annotations

import inspect
import json
import os
import re
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, NoReturn, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PretrainedConfig
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation.utils import GenerationMixin
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.utils.generic import can_return_tuple
from transformers.utils.hub import cached_file

STRUCTURE_NAME = "structure.json"
MAX_STRUCTURE_BYTES = 4 << 20
MAX_LAYERS = 4096
MAX_UNITS = 1 << 24
MODULE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*")

# transformers renames arguments between releases; what is installed says what they are called.
MASK_ARGUMENTS = inspect.signature(create_causal_mask).parameters
CACHE_NAME = "cache" if "cache" in MASK_ARGUMENTS else "past_key_values"
EMBEDDINGS_NAME = "inputs_embeds" if "inputs_embeds" in MASK_ARGUMENTS else "input_embeds"
ROPE_IN_ONE_FIELD = hasattr(PretrainedConfig, "standardize_rope_params")


def refuse(place: str, allowed: str, found: object) -> NoReturn:
    """Raise a ``ValueError`` that says what is wrong where."""
    raise ValueError(f"{place} must be {allowed}, found {found!r:.200}")


def is_count(value: object) -> TypeGuard[int]:
    """Whether it is a size that a tensor may have."""
    return type(value) is int and 0 < value <= MAX_UNITS


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a number of JSON."""
    return type(value) in {int, float}


def is_name(value: object) -> bool:
    """Whether it may be the path of a module."""
    return isinstance(value, str) and MODULE_NAME.fullmatch(value) is not None


# ---------------------------------------------------------------------------------------------------------------------
# The record


KINDS = {
    "str": ("a module's or field's name", is_name),
    "str | None": ("a module's name or null", lambda value: value is None or is_name(value)),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "int": (f"an integer from 1 to {MAX_UNITS}", is_count),
    "dict[str, int]": (
        f"an object of integers from 1 to {MAX_UNITS}",
        lambda value: isinstance(value, dict) and all(map(is_count, value.values())),
    ),
    "tuple[str, ...]": (
        "a list of modules' names",
        lambda value: isinstance(value, (list, tuple)) and all(map(is_name, value)),
    ),
    "dict[str, tuple[str, ...]]": (
        "an object of lists of modules' names",
        lambda value: (
            isinstance(value, dict)
            and all(is_name(name) and isinstance(parts, (list, tuple)) for name, parts in value.items())
            and all(is_name(part) for parts in value.values() for part in parts)
        ),
    ),
    "tuple[int, ...]": (
        "a list of layers' numbers",
        lambda value: isinstance(value, (list, tuple)) and all(type(each) is int and each >= 0 for each in value),
    ),
    "object": ("anything", lambda _: True),
}


@dataclass(frozen=True)
class Block:
    """How a layer is built; modules by the names that the architecture's checkpoints have for them."""

    norm: str
    norm_epsilon: str
    attention_norm: str
    query: str
    key: str
    value: str
    output: str
    up: str
    down: str
    activation: str
    final_norm: str | None = None
    parallel: bool = False
    mlp_norm: str | None = None
    query_norm: str | None = None
    key_norm: str | None = None
    query_key_scale: str | None = None
    gate: str | None = None
    head_bias: bool = False

    def __post_init__(self) -> None:
        if self.norm not in {"rms", "layer", "sphere"}:
            refuse("block.norm", "'rms', 'layer' or 'sphere'", self.norm)
        if self.parallel is not (self.mlp_norm is None):
            refuse("block.mlp_norm", "a name, or null in a parallel block", self.mlp_norm)
        if (self.query_norm is None) is not (self.key_norm is None):
            refuse("block.query_norm and key_norm", "both names or both null", (self.query_norm, self.key_norm))
        self._check_sphere()
        names = [*self.attention_inputs, self.output, *self.mlp_inputs, self.down, self.attention_norm]
        optional = (self.mlp_norm, self.query_norm, self.key_norm, self.query_key_scale)
        names += [name for name in optional if name is not None]
        if len(set(names)) != len(names):
            refuse("block", "a module of its own for every part", names)

    def _check_sphere(self) -> None:
        found = {"final_norm": self.final_norm, "query_key_scale": self.query_key_scale}
        if not self.on_sphere:
            if self.final_norm is None or self.query_key_scale is not None:
                refuse(f"block of norm {self.norm!r}", "with a final_norm and without query_key_scale", found)
        elif self.final_norm is not None or self.query_key_scale is None:
            refuse("block of norm 'sphere'", "without a final_norm and with query_key_scale", found)
        elif self.parallel or self.query_norm is not None:
            refuse("block of norm 'sphere'", "sequential, without query_norm and key_norm", self.query_norm)

    @property
    def on_sphere(self) -> bool:
        """Whether hidden states, query heads and key heads are unit vectors."""
        return self.norm == "sphere"

    @property
    def attention_inputs(self) -> tuple[str, ...]:
        """Linears that read the attention's input."""
        return (self.query, self.key, self.value)

    @property
    def mlp_inputs(self) -> tuple[str, ...]:
        """Linears that read the MLP's input."""
        return (self.up,) if self.gate is None else (self.gate, self.up)


@dataclass(frozen=True)
class LayerShape:
    """Sizes of one layer: intermediate units, KV heads, query heads of one KV head, ranks of factorised linears."""

    intermediate: int
    kv_group: int
    head: int
    ranks: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Structure:
    """The content of ``structure.json``."""

    model_type: str
    block: object
    layers: object
    format: int = 1
    biases: tuple[str, ...] = ()
    fused: dict[str, tuple[str, ...]] = field(default_factory=dict)
    exits: tuple[int, ...] = ()
    vote: str = "max"


class Shapes:
    """A structure, checked, with the modules that its layers consist of."""

    def __init__(self, content: object) -> None:
        record = parse(Structure, content, STRUCTURE_NAME)
        if record.format != 1:
            refuse("format", "1 (another needs a newer modeling file)", record.format)
        if not isinstance(record.layers, (list, tuple)) or not 0 < len(record.layers) <= MAX_LAYERS:
            refuse("layers", f"a list of 1 to {MAX_LAYERS} objects", record.layers)
        self.model_type, self.biases, self.fused = record.model_type, record.biases, record.fused
        self.block: Block = parse(Block, record.block, "block")
        self.layers = [parse(LayerShape, layer, f"layers[{i}]") for i, layer in enumerate(record.layers)]
        self.exits, self.vote = tuple(record.exits), record.vote
        self.linears = self._linears()
        self._check()
        self._check_exits()

    def _check_exits(self) -> None:
        last = len(self.layers) - 1
        if self.exits and (list(self.exits) != sorted(set(self.exits)) or self.exits[-1] != last):
            refuse("exits", f"ascending layers up to the last, {last}", self.exits)
        if self.vote not in {"max", "mean"}:
            refuse("vote", "'max' or 'mean'", self.vote)

    def _linears(self) -> dict[str, tuple[str, ...]]:
        """Modules of a layer, by name, with the linears that each of them computes, in the order of its rows."""
        block, home = self.block, {part: name for name, parts in self.fused.items() for part in parts}
        parts = (*block.attention_inputs, block.output, *block.mlp_inputs, block.down)
        names = dict.fromkeys(home.get(part, part) for part in parts)
        return {name: tuple(self.fused.get(name, (name,))) for name in names}

    def _check(self) -> None:
        fusible = [set(self.block.attention_inputs), set(self.block.mlp_inputs)]
        every = [part for parts in self.fused.values() for part in parts]
        for name, parts in self.fused.items():
            if not parts or not any(inputs.issuperset(parts) for inputs in fusible):
                refuse(f"fused[{name!r}]", "linears with the same input", parts)
        if len({*every, *self.fused}) != len(every) + len(self.fused):
            refuse("fused", "linears that are each part of one, under a new name", self.fused)
        linears = {*self.linears, *every}
        if unknown := [name for name in self.biases if name not in linears]:
            refuse("biases", f"of {sorted(linears)}", unknown)
        for index, layer in enumerate(self.layers):
            if unknown := [name for name in layer.ranks if name not in self.linears]:
                refuse(f"layers[{index}].ranks", f"of {sorted(self.linears)}", unknown)
        for name in self.linears:
            self.has_bias(name)

    def has_bias(self, name: str) -> bool:
        """Whether module ``name`` has a bias: it is listed, or all the parts that it is fused from are."""
        listed = [part in self.biases for part in self.linears[name]]
        if any(listed) is not all(listed):
            refuse("biases", f"of all parts of {name!r} or of none", list(self.biases))
        return name in self.biases or all(listed)

    def sizes(self, layer: LayerShape, hidden_size: int, head_dim: int) -> dict[str, tuple[int, int]]:
        """Outputs and inputs of each linear of ``layer``, before any are fused."""
        block, kv_size = self.block, layer.kv_group * head_dim
        rows = {block.query: layer.head * kv_size, block.key: kv_size, block.value: kv_size}
        sizes = {name: (count, hidden_size) for name, count in rows.items()}
        sizes |= dict.fromkeys(block.mlp_inputs, (layer.intermediate, hidden_size))
        return sizes | {
            block.output: (hidden_size, layer.head * kv_size),
            block.down: (hidden_size, layer.intermediate),
        }


def parse(kind: type[Any], content: object, place: str) -> Any:  # noqa: ANN401 - an object of the class ``kind``
    """An object of the dataclass ``kind`` from parsed JSON; raises ``ValueError`` where anything in it does not fit."""
    if not isinstance(content, dict):
        refuse(place, "an object", content)
    known = {entry.name: entry for entry in fields(kind)}
    needed = [name for name, entry in known.items() if entry.default is MISSING and entry.default_factory is MISSING]
    if unknown := sorted(set(content) - set(known)):
        refuse(f"fields of {place}", f"of {sorted(known)}", unknown)
    if missing := [name for name in needed if name not in content]:
        refuse(f"fields of {place}", f"at least {needed}", f"none of {missing}")
    for name, value in content.items():
        allowed, fits = KINDS[str(known[name].type)]
        if not fits(value):
            refuse(f"{place}.{name}", allowed, value)
    return kind(**content)


# ---------------------------------------------------------------------------------------------------------------------
# The configuration


class StructuredConfig(PretrainedConfig):
    """Fields of the architecture's own configuration, with the structure in ``structure``.

    ``intermediate_size``, ``num_attention_heads`` and ``num_key_value_heads`` are the largest of all layers.
    """

    model_type = "edge_structured"
    keys_to_ignore_at_inference = ["cache", "past_key_values"]
    ignore_keys_at_rope_validation = {"partial_rotary_factor"}
    rope_parameters = None

    def __init__(self, structure: dict[str, Any] | None = None, **settings: Any) -> None:  # noqa: ANN401 - JSON
        self.structure = structure
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            settings.setdefault(name, None)
        settings.setdefault("tie_word_embeddings", False)
        use_cache = settings.pop("use_cache", True)
        if structure is not None:
            refuse_sliding_window(settings)
            agree(Shapes(structure), settings)
            rope = rotation_settings(settings)
            self.max_position_embeddings = settings["max_position_embeddings"]  # is read where rotation is completed
            if ROPE_IN_ONE_FIELD:
                self.rope_parameters = rope
            else:
                scaling = None if rope["rope_type"] == "default" else rope
                share = rope.get("partial_rotary_factor", 1.0)
                settings |= {"rope_theta": rope["rope_theta"], "rope_scaling": scaling, "partial_rotary_factor": share}
        super().__init__(**settings)
        self.use_cache = use_cache  # not passed on: the base class takes it for a setting of generation, and drops it

    @classmethod
    def get_config_dict(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        **kwargs: Any,  # noqa: ANN401 - as the base class has it
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The fields of ``config.json``, with ``structure.json`` beside it as ``structure``."""
        settings, unused = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        record = read_structure(pretrained_model_name_or_path, kwargs)
        known = settings.setdefault("structure", record)
        if known is None:
            refuse(f"{pretrained_model_name_or_path}", f"a checkpoint with a {STRUCTURE_NAME}", "none")
        if record is not None and known != record:
            refuse("structure in config.json", f"what {STRUCTURE_NAME} has, or absent", known)
        return settings, unused


def read_structure(place: str | os.PathLike[str], options: dict[str, Any]) -> object:
    """The parsed ``structure.json`` of a folder or repository; None where it has none."""
    # No pathlib: it may be the name of a repository.
    folder = os.path.dirname(place) or "." if os.path.isfile(place) else os.fspath(place)  # noqa: PTH113, PTH120
    passed = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder", "proxies")
    chosen = {name: options[name] for name in passed if options.get(name) is not None}
    file = cached_file(folder, STRUCTURE_NAME, _raise_exceptions_for_missing_entries=False, **chosen)
    if file is None:
        return None
    with open(file, "rb") as stream:  # noqa: PTH123 - a string from the cache
        text = stream.read(MAX_STRUCTURE_BYTES + 1)
    if len(text) > MAX_STRUCTURE_BYTES:
        refuse(f"{file}", f"at most {MAX_STRUCTURE_BYTES} bytes", "more")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: is not JSON: {error}") from error


def agree(shapes: Shapes, settings: dict[str, Any]) -> None:
    """Complete ``settings``; raises ``ValueError`` where they contradict the structure or lack what it needs."""
    for name in ("hidden_size", "vocab_size", "max_position_embeddings"):
        if not is_count(settings.get(name)):
            refuse(f"config.json: {name}", f"an integer from 1 to {MAX_UNITS}", settings.get(name))
    largest = {
        "base_model_type": shapes.model_type,
        "num_hidden_layers": len(shapes.layers),
        "intermediate_size": max(layer.intermediate for layer in shapes.layers),
        "num_key_value_heads": max(layer.kv_group for layer in shapes.layers),
        "num_attention_heads": max(layer.kv_group * layer.head for layer in shapes.layers),
    }
    for name, value in largest.items():
        if settings.setdefault(name, value) != value:
            refuse(f"config.json: {name}", f"{value!r}, as {STRUCTURE_NAME} has it", settings[name])
    if not is_count(head_dim := settings.get("head_dim")) or head_dim % 2:
        refuse("config.json: head_dim", "a positive even integer", head_dim)
    epsilon, activation = (settings.get(name) for name in (shapes.block.norm_epsilon, shapes.block.activation))
    if not is_number(epsilon) or not 0 <= epsilon < 1:
        refuse(f"config.json: {shapes.block.norm_epsilon}", "a number from 0 to 1", epsilon)
    if not isinstance(activation, str) or activation not in ACT2FN:
        refuse(f"config.json: {shapes.block.activation}", "an activation of transformers", activation)
    check_ranks(shapes, settings["hidden_size"], head_dim)


def check_ranks(shapes: Shapes, hidden_size: int, head_dim: int) -> None:
    """Raises ``ValueError`` where a rank is larger than both sides of its linear."""
    for index, layer in enumerate(shapes.layers):
        sizes = shapes.sizes(layer, hidden_size, head_dim)
        for name, rank in layer.ranks.items():
            parts = [sizes[part] for part in shapes.linears[name]]
            largest = max(sum(rows for rows, _ in parts), parts[0][1])
            if rank > largest:
                refuse(f"layers[{index}].ranks[{name!r}]", f"from 1 to {largest}", rank)


def refuse_sliding_window(settings: dict[str, Any]) -> None:
    """Raises ``ValueError`` where attention is over a window; takes out the fields of a window that is switched off."""
    kinds = settings.pop("layer_types", None) or []
    windowed = settings.get("sliding_window") is not None and settings.get("use_sliding_window", True)
    if windowed or not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds):
        found = {"sliding_window": settings.get("sliding_window"), "layer_types": kinds}
        refuse("config.json: attention", "over all tokens, without a sliding window", found)
    if "sliding_window" in settings:
        settings["sliding_window"] = None


def rotation_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Take out of ``settings`` what they say about rotation, in the fields of either generation of transformers."""
    scaling, rope = settings.pop("rope_scaling", None), settings.pop("rope_parameters", None)
    rope = rope or scaling or {}
    if not isinstance(rope, dict):
        refuse("config.json: rope_parameters", "an object", rope)
    rope = dict(rope)
    for name in ("rope_theta", "partial_rotary_factor"):
        if (value := settings.pop(name, None)) is not None:
            rope.setdefault(name, value)
    kind = rope.setdefault("rope_type", rope.pop("type", "default"))
    if not isinstance(kind, str) or kind not in {"default", *ROPE_INIT_FUNCTIONS}:
        refuse("config.json: rope_type", f"default or of {sorted(ROPE_INIT_FUNCTIONS)}", kind)
    theta, share = rope.get("rope_theta"), rope.get("partial_rotary_factor", 1.0)
    if not is_number(theta) or theta <= 0:
        refuse("config.json: rope_theta", "a positive number", theta)
    if not is_number(share) or not 0 < share <= 1 or int(settings["head_dim"] * share) % 2:
        refuse("config.json: partial_rotary_factor", "from 0 to 1, with an even rotated part of head_dim", share)
    return rope


# ---------------------------------------------------------------------------------------------------------------------
# Parts of a layer


class StructuredRMSNorm(nn.Module):
    """``weight * x / rms(x)``, the root mean square in FP32."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, hidden: Tensor) -> Tensor:
        """``[..., size]`` to ``[..., size]``."""
        exact = hidden.to(torch.float32)
        exact = exact * torch.rsqrt(exact.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return self.weight * exact.to(hidden.dtype)


def unit(vectors: Tensor, epsilon: float) -> Tensor:
    """``[..., size]`` divided by their lengths, in FP32; lengths below ``epsilon`` count as ``epsilon``."""
    return functional.normalize(vectors.to(torch.float32), dim=-1, eps=epsilon)


class StructuredMove(nn.Module):
    """Moves unit vectors towards others on the unit sphere: by a share of 0 not at all, by 1 all the way."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, hidden: Tensor, output: Tensor) -> Tensor:
        """Both ``[..., size]``; ``hidden`` after the move."""
        exact, share = hidden.to(torch.float32), self.weight.to(torch.float32)
        moved = exact + share * (unit(output, self.epsilon) - exact)
        return unit(moved, self.epsilon).to(hidden.dtype)


class StructuredScale(nn.Module):
    """Unit vectors of heads, each dimension times its own factor."""

    def __init__(self, size: int, head_dim: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.head_dim, self.epsilon = head_dim, epsilon

    def forward(self, states: Tensor) -> Tensor:
        """``[B, heads, T, d]`` of any lengths; heads of one KV group follow each other and share their factors."""
        factors = self.weight.to(torch.float32).view(-1, 1, self.head_dim)
        repeated = factors.repeat_interleave(states.shape[1] // factors.shape[0], dim=0)
        return (unit(states, self.epsilon) * repeated).to(states.dtype)


class Factorised(nn.Module):
    """A linear as the product of two: ``A (B x)``, with its bias in ``A``."""

    def __init__(self, inputs: int, rank: int, outputs: int, *, bias: bool) -> None:
        super().__init__()
        self.A = nn.Linear(rank, outputs, bias=bias)
        self.B = nn.Linear(inputs, rank, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[..., inputs]`` to ``[..., outputs]``."""
        output: Tensor = self.A(self.B(hidden))
        return output


class Rotation:
    """Cosine and sine of every position. No module: frequencies follow the input's device and are never cast."""

    def __init__(self, config: StructuredConfig) -> None:
        self.config = config
        rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
        self.kind: str = rope.get("rope_type", "default")
        self.share = rope.get("partial_rotary_factor", getattr(config, "partial_rotary_factor", 1.0))
        self.theta = float(rope.get("rope_theta", getattr(config, "rope_theta", 0.0)))
        self.known: tuple[Tensor, float] | None = None

    @torch.no_grad()
    def __call__(self, hidden: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Both ``[B, 1, T, r]`` in the dtype of ``hidden``, for positions ``[B, T]``."""
        frequencies, scale = self.frequencies(position_ids)
        angles = position_ids[..., None].float() * frequencies
        angles = torch.cat((angles, angles), dim=-1).unsqueeze(1)
        return (angles.cos() * scale).to(hidden.dtype), (angles.sin() * scale).to(hidden.dtype)

    def frequencies(self, position_ids: Tensor) -> tuple[Tensor, float]:
        """Angle per position ``[r / 2]``, and what cosine and sine are multiplied with."""
        device = position_ids.device
        if self.kind in {"dynamic", "longrope"}:  # these depend on how long the text is
            return self.scaled(device, seq_len=int(position_ids.max()) + 1)
        if self.known is None or self.known[0].device != device:
            self.known = self.plain(device) if self.kind == "default" else self.scaled(device)
        return self.known

    def plain(self, device: torch.device) -> tuple[Tensor, float]:
        """``theta ** (-2 i / r)``."""
        size = int(self.config.head_dim * self.share)
        return 1.0 / (self.theta ** (torch.arange(0, size, 2, dtype=torch.float, device=device) / size)), 1.0

    def scaled(self, device: torch.device, **length: int) -> tuple[Tensor, float]:
        """As transformers computes the other kinds."""
        frequencies, scale = ROPE_INIT_FUNCTIONS[self.kind](self.config, device, **length)
        return frequencies.to(device), scale


def rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """``[B, heads, T, d]`` with dimensions ``i`` and ``i + r / 2`` of each head turned; the rest stays."""
    size = cos.shape[-1]
    turned, rest = states[..., :size], states[..., size:]
    first, second = turned.chunk(2, dim=-1)
    turned = turned * cos + torch.cat((-second, first), dim=-1) * sin
    return torch.cat((turned, rest), dim=-1) if rest.shape[-1] else turned


def eager_attention(  # noqa: PLR0913 - the signature that transformers expects
    module: StructuredLayer,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,  # noqa: ANN401 - what other implementations take
) -> tuple[Tensor, Tensor]:
    """``[B, H, T, d]`` and twice ``[B, K, T, d]`` to ``[B, T, H, d]`` and weights ``[B, H, T, T]``; softmax in FP32."""
    key, value = (part.repeat_interleave(module.num_key_value_groups, dim=1) for part in (key, value))
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


def place(parent: nn.Module, name: str, module: nn.Module) -> None:
    """Make ``module`` the descendant ``name`` of ``parent``; raises ``ValueError`` where the name is taken."""
    *path, leaf = name.split(".")
    for part in path:
        if not hasattr(parent, part):
            parent.add_module(part, nn.Module())
        parent = getattr(parent, part)
        if type(parent) is not nn.Module:
            refuse(f"module name {name!r}", "free", f"{part!r} taken")
    if hasattr(parent, leaf):
        refuse(f"module name {name!r}", "free", f"{leaf!r} taken")
    parent.add_module(leaf, module)


class StructuredLayer(GradientCheckpointingLayer):
    """One decoder layer of any architecture; its modules have the names that the structure gives them."""

    def __init__(self, config: StructuredConfig, shapes: Shapes, index: int) -> None:
        super().__init__()
        self.config, self._block, self.layer_idx = config, shapes.block, index
        layer = shapes.layers[index]
        self.head_dim: int = config.head_dim
        self.num_key_value_groups = layer.head
        # Scores of unit vectors have 1/d of the variance that scores of others have.
        self.scaling = self.head_dim ** (0.5 if self._block.on_sphere else -0.5)
        self.is_causal = True
        self._activation = ACT2FN[getattr(config, self._block.activation)]
        self._attention_dropout = float(getattr(config, "attention_dropout", 0.0) or 0.0)
        self._dropout = float(getattr(config, "resid_pdrop", 0.0) or 0.0)
        self._sources: dict[str, tuple[str, ...]] = {}
        self._rows: dict[str, tuple[int, ...]] = {}
        self._build_linears(shapes, layer)
        self._build_norms(layer)
        self._paths = {name: tuple(name.split(".")) for name, _ in self.named_modules() if name}

    def _build_linears(self, shapes: Shapes, layer: LayerShape) -> None:
        """Linears, fused and factorised as the structure has them."""
        sizes = shapes.sizes(layer, self.config.hidden_size, self.head_dim)
        for name, parts in shapes.linears.items():
            rows, inputs = tuple(sizes[part][0] for part in parts), sizes[parts[0]][1]
            self._sources[name], self._rows[name] = parts, rows
            bias, rank = shapes.has_bias(name), layer.ranks.get(name)
            linear = nn.Linear(inputs, sum(rows), bias=bias)
            place(self, name, linear if rank is None else Factorised(inputs, rank, sum(rows), bias=bias))

    def _build_norms(self, layer: LayerShape) -> None:
        """Norms of the hidden states, and of each head where the architecture has them."""
        block, hidden_size = self._block, self.config.hidden_size
        if block.query_key_scale is not None:
            epsilon, size = getattr(self.config, block.norm_epsilon), layer.kv_group * self.head_dim
            place(self, block.query_key_scale, StructuredScale(size, self.head_dim, epsilon))
        norms = {block.attention_norm: hidden_size, block.mlp_norm: hidden_size}
        for name, size in (norms | {block.query_norm: self.head_dim, block.key_norm: self.head_dim}).items():
            if name is not None:
                place(self, name, make_norm(self.config, block, size))

    def forward(
        self,
        hidden: Tensor,
        rotation: tuple[Tensor, Tensor],
        mask: Any = None,  # noqa: ANN401 - a tensor, or what the attention's implementation takes
        cache: Cache | None = None,
        **kwargs: Any,  # noqa: ANN401 - for the attention's implementation
    ) -> tuple[Tensor, Tensor | None]:
        """``[B, T, D]`` to ``[B, T, D]`` and, where the implementation has them, the attention's weights."""
        if self._block.on_sphere:
            return self._along_sphere(hidden, rotation, mask, cache, **kwargs)
        normed = self._run(self._block.attention_norm, hidden)
        attended, weights = self._attend(normed, rotation, mask, cache, **kwargs)
        attended = self._drop(attended)
        if self._block.mlp_norm is None:
            return attended + self._drop(self._mlp(normed)) + hidden, weights
        hidden = hidden + attended
        return hidden + self._drop(self._mlp(self._run(self._block.mlp_norm, hidden))), weights

    def _along_sphere(
        self,
        hidden: Tensor,
        rotation: tuple[Tensor, Tensor],
        mask: Any,  # noqa: ANN401 - as in ``forward``
        cache: Cache | None,
        **kwargs: Any,  # noqa: ANN401 - as in ``forward``
    ) -> tuple[Tensor, Tensor | None]:
        """``forward`` where the hidden states are unit vectors."""
        assert self._block.mlp_norm is not None  # noqa: S101 - the record was checked
        attended, weights = self._attend(hidden, rotation, mask, cache, **kwargs)
        hidden = self._run(self._block.attention_norm, hidden, self._drop(attended))
        return self._run(self._block.mlp_norm, hidden, self._drop(self._mlp(hidden))), weights

    def _attend(
        self,
        hidden: Tensor,
        rotation: tuple[Tensor, Tensor],
        mask: Any,  # noqa: ANN401 - as in ``forward``
        cache: Cache | None,
        **kwargs: Any,  # noqa: ANN401 - as in ``forward``
    ) -> tuple[Tensor, Tensor | None]:
        """Attention over the tokens of ``hidden`` and those in the cache."""
        block, (batch, tokens, _) = self._block, hidden.shape
        found = self._project(block.attention_inputs, hidden)
        query, key, value = (part.view(batch, tokens, -1, self.head_dim) for part in found)  # [B, T, heads, d]
        if block.query_norm is not None and block.key_norm is not None:
            query, key = self._run(block.query_norm, query), self._run(block.key_norm, key)
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))  # [B, heads, T, d]
        query, key = rotate(query, *rotation), rotate(key, *rotation)
        if block.query_key_scale is not None:
            query, key = self._run(block.query_key_scale, query), self._run(block.query_key_scale, key)
        if cache is not None:
            key, value = cache.update(key, value, self.layer_idx)
        kind = self.config._attn_implementation  # noqa: SLF001 - there is no public name for it
        attention = eager_attention if kind in {None, "eager"} else ALL_ATTENTION_FUNCTIONS[kind]
        loss = self._attention_dropout if self.training else 0.0
        attended, weights = attention(self, query, key, value, mask, dropout=loss, scaling=self.scaling, **kwargs)
        return self._run(block.output, attended.reshape(batch, tokens, -1)), weights

    def _mlp(self, hidden: Tensor) -> Tensor:
        """``[B, T, D]`` to ``[B, T, D]``, through the layer's intermediate units."""
        first, *rest = self._project(self._block.mlp_inputs, hidden)
        units = self._activation(first) * rest[0] if rest else self._activation(first)
        return self._run(self._block.down, units)

    def _project(self, parts: tuple[str, ...], hidden: Tensor) -> list[Tensor]:
        """Outputs of the linears ``parts``, from whichever modules compute them."""
        if all(part in self._sources for part in parts):
            return [self._run(part, hidden) for part in parts]
        found: dict[str, Tensor] = {}
        for name, names in self._sources.items():
            if names[0] in parts:
                found |= zip(names, self._run(name, hidden).split(self._rows[name], dim=-1), strict=True)
        return [found[part] for part in parts]

    def _run(self, name: str, *inputs: Tensor) -> Tensor:
        """The output of module ``name``, looked up each time: adapters put others in the place of modules."""
        module: Any = self
        for part in self._paths[name]:
            module = module._modules[part]  # noqa: SLF001 - ``get_submodule`` is slow where layers are small
        output: Tensor = module(*inputs)
        return output

    def _drop(self, hidden: Tensor) -> Tensor:
        """Dropout of what is added to the hidden states, in architectures that have it."""
        return functional.dropout(hidden, p=self._dropout, training=True) if self.training else hidden


def make_norm(config: StructuredConfig, block: Block, size: int) -> nn.Module:
    """What the architecture has in the place of a norm over ``size`` dimensions."""
    epsilon = getattr(config, block.norm_epsilon)
    if block.on_sphere:
        return StructuredMove(size, epsilon)
    return StructuredRMSNorm(size, epsilon) if block.norm == "rms" else nn.LayerNorm(size, eps=epsilon)


# ---------------------------------------------------------------------------------------------------------------------
# The model


class StructuredPreTrainedModel(PreTrainedModel):
    """What transformers asks about the model."""

    config_class = StructuredConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["StructuredLayer"]
    _skip_keys_device_placement = ["cache", "past_key_values"]
    _supports_sdpa = True
    _supports_attention_backend = True


class StructuredModel(StructuredPreTrainedModel):
    """Embedding, layers, final norm."""

    def __init__(self, config: StructuredConfig) -> None:
        super().__init__(config)
        if config.structure is None:
            refuse("configuration", f"one with a structure, read from {STRUCTURE_NAME}", None)
        self.shapes = Shapes(config.structure)
        padding = config.pad_token_id
        padding = padding if isinstance(padding, int) and 0 <= padding < config.vocab_size else None
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, padding)
        indices = range(len(self.shapes.layers))
        self.layers = nn.ModuleList(StructuredLayer(config, self.shapes, index) for index in indices)
        if self.shapes.block.final_norm is not None:
            place(self, self.shapes.block.final_norm, make_norm(config, self.shapes.block, config.hidden_size))
        self.rotation = Rotation(config)
        self.post_init()

    @can_return_tuple
    def forward(  # noqa: PLR0913 - the signature that transformers expects
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        *,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **kwargs: Any,  # noqa: ANN401 - for the attention's implementation
    ) -> BaseModelOutputWithPast:
        """``past_key_values`` is what releases before 5.24 call ``cache``."""
        if (input_ids is None) is (inputs_embeds is None):
            refuse("input", "either input_ids or inputs_embeds", "both or none")
        hidden = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds  # [B, T, D]
        cache = self.choose_cache(past_key_values if cache is None else cache, use_cache)
        seen = 0 if cache is None else cache.get_seq_length()
        places = torch.arange(hidden.shape[1], device=hidden.device) + seen
        position_ids = places.unsqueeze(0) if position_ids is None else position_ids
        mask = self.causal_mask(hidden, attention_mask, cache, position_ids, places)
        rotation = self.rotation(hidden, position_ids)
        hidden = functional.dropout(hidden, p=getattr(self.config, "embd_pdrop", 0.0), training=self.training)
        with_states = self.wanted("output_hidden_states", output_hidden_states)
        with_weights = self.wanted_weights(output_attentions)
        states, weights = [], []
        for layer in self.layers:
            states += [hidden] if with_states else []
            hidden, attention = layer(hidden, rotation, mask, cache, **kwargs)
            weights += [attention] if with_weights else []
        if self.shapes.block.final_norm is not None:
            hidden = self.get_submodule(self.shapes.block.final_norm)(hidden)
        return BaseModelOutputWithPast(
            last_hidden_state=hidden,
            hidden_states=(*states, hidden) if with_states else None,
            attentions=tuple(weights) if with_weights else None,
            **{CACHE_NAME: cache},
        )

    def wanted(self, name: str, value: bool | None) -> bool:
        """Whether an output that costs memory was asked for, by argument or by configuration."""
        return bool(getattr(self.config, name, False) if value is None else value)

    def wanted_weights(self, value: bool | None) -> bool:
        """Whether the attention's weights were asked for; raises ``ValueError`` where the implementation has none."""
        wanted, kind = self.wanted("output_attentions", value), self.config._attn_implementation  # noqa: SLF001 - no public name
        if wanted and kind != "eager":
            refuse("attn_implementation", "'eager' with output_attentions", kind)
        return wanted

    def choose_cache(self, cache: Cache | None, use_cache: bool | None) -> Cache | None:
        """The cache to use, a new one where one is wanted; none where the backward pass computes layers again."""
        repeated = self.training and any(getattr(layer, "gradient_checkpointing", False) for layer in self.layers)
        if repeated and torch.is_grad_enabled():
            if cache is not None and cache.get_seq_length():
                refuse("cache", "empty or absent with gradient checkpointing", f"{cache.get_seq_length()} tokens")
            return None
        new = self.wanted("use_cache", use_cache) and cache is None
        return DynamicCache(config=self.config) if new else cache

    def causal_mask(
        self, hidden: Tensor, attention_mask: Tensor | None, cache: Cache | None, position_ids: Tensor, places: Tensor
    ) -> Any:  # noqa: ANN401 - a tensor, or what the attention's implementation takes
        """Who sees whom, in the form that the attention's implementation wants."""
        arguments = {EMBEDDINGS_NAME: hidden, CACHE_NAME: cache, "position_ids": position_ids}
        old = MASK_ARGUMENTS.get("cache_position")
        if old is not None and old.default is inspect.Parameter.empty:
            arguments["cache_position"] = places
        return create_causal_mask(config=self.config, attention_mask=attention_mask, **arguments)


class StructuredForCausalLM(StructuredPreTrainedModel, GenerationMixin):
    """The model with a head over the vocabulary."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: StructuredConfig) -> None:
        super().__init__(config)
        self.model = StructuredModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=self.model.shapes.block.head_bias)
        self.post_init()

    @can_return_tuple
    def forward(  # noqa: PLR0913, PLR0917 - the signature that transformers expects
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,  # noqa: ANN401 - for the layers and the loss
    ) -> CausalLMOutputWithPast:
        """Logits ``[B, T, V]``, of the last ``logits_to_keep`` tokens only (0: of all), and the loss of the labels."""
        outputs = self.model(
            input_ids,
            attention_mask,
            position_ids,
            past_key_values if cache is None else cache,
            inputs_embeds,
            use_cache=use_cache,
            output_hidden_states=True if self.model.shapes.exits else output_hidden_states,
            **kwargs,
        )
        states = ("output_hidden_states", output_hidden_states)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept, :])
        if self.model.shapes.exits:
            logits = self.voted(logits, outputs.hidden_states, kept)
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states if self.model.wanted(*states) else None,
            attentions=outputs.attentions,
            **{CACHE_NAME: outputs.get(CACHE_NAME)},
        )

    def voted(self, last: Tensor, states: tuple[Tensor, ...], kept: slice | Tensor) -> Tensor:
        """Logarithms of the probabilities ``[B, T, V]`` that the exits agree on, ``last`` being the last one's logits.

        ``states`` are what went into each layer, and last what left the final norm.
        """
        shapes = self.model.shapes
        joined = last.to(torch.float32).log_softmax(-1)
        for layer in shapes.exits[:-1]:
            hidden = states[layer + 1][:, kept, :]
            if shapes.block.final_norm is not None:
                hidden = self.model.get_submodule(shapes.block.final_norm)(hidden)
            found = self.lm_head(hidden).to(torch.float32).log_softmax(-1)
            joined = torch.maximum(joined, found) if shapes.vote == "max" else torch.logaddexp(joined, found)
        return joined.log_softmax(-1).to(last.dtype)
