"""The graph that is exported: ``n`` tokens in, logits of the last one out, the KV cache inside.

    token_ids [1, n], start [1] ── embedding ── layers ── last token ── norm ── lm_head ──> logits [1, V]
                                                 │ keys   [K, d, C]   columns start .. start + n written in place
                                                 └ values [K, C, d]   rows likewise

It computes what the model computes, for every structure that there is an anatomy of, and is written so that XNNPACK
takes as much of it as it can: means are products with a row of 1/D, a rotation's second half is a product with a
signed permutation, query heads of one KV group are rows of one product. Parameters bear the checkpoint's names.
Dimensions in comments: n tokens, D hidden, H query heads, K KV heads, d head size, C context, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.deployment.executorch.parts import Linear, activation_of, layer_modules, make_norm
from harness.structured.modeling_structured import place
from harness.surgery.table import HIDDEN_AXIS, VOCABULARY_AXIS

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.deployment.executorch.rotation import RotationTable
    from harness.surgery.anatomy import Anatomy

EMBEDDING: Final = "model.embed_tokens.weight"
HEAD: Final = "lm_head.weight"
MASKED: Final = -1e4
"""Added to the scores of positions that a token must not see: its exponential is 0 in FP16 and in FP32."""


class StepLayer(nn.Module):
    """One decoder layer and its part of the cache."""

    keys: Tensor
    values: Tensor
    turn: Tensor

    def __init__(self, anatomy: Anatomy, index: int, context_tokens: int, dtype: torch.dtype) -> None:
        super().__init__()
        sizes, self.block = anatomy.sizes_in(index), anatomy.table.block
        self.kv_heads, self.group, self.head_dim = sizes["kv_group"], sizes["head"], sizes["head_dim"]
        self.activation = activation_of(anatomy)
        self.fused = {part: name for name, parts in anatomy.fused.items() for part in parts}
        self.rows = {name: self._rows_of(parts, sizes["intermediate"]) for name, parts in anatomy.fused.items()}
        self.parts = anatomy.fused
        for name, module in layer_modules(anatomy, index).items():
            place(self, name, module)
        shape = (self.kv_heads, self.head_dim, context_tokens)
        self.register_buffer("keys", torch.zeros(shape, dtype=dtype), persistent=False)
        self.register_buffer("values", torch.zeros(shape, dtype=dtype).transpose(1, 2).contiguous(), persistent=False)

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """``[n, D]`` to ``[n, D]``; ``cos`` and ``sin`` are ``[n, 1, d]``, ``mask`` is ``[n, C]``."""
        if self.block.norm == "sphere":
            attended = self._attend(hidden, cos, sin, mask, positions)
            hidden = self._run(self.block.attention_norm, hidden, attended)
            return self._run(str(self.block.mlp_norm), hidden, self._mlp(hidden))
        normed = self._run(self.block.attention_norm, hidden)
        attended = self._attend(normed, cos, sin, mask, positions)
        if self.block.mlp_norm is None:
            return attended + self._mlp(normed) + hidden
        hidden = hidden + attended
        return hidden + self._mlp(self._run(self.block.mlp_norm, hidden))

    def _attend(self, hidden: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        tokens, heads, size = hidden.shape[0], self.kv_heads * self.group, self.head_dim
        query, key, value = self._project((self.block.query, self.block.key, self.block.value), hidden)
        query = self._turned(self.block.query_norm, query.view(tokens, heads, size), cos, sin)
        key = self._turned(self.block.key_norm, key.view(tokens, self.kv_heads, size), cos, sin)
        if self.block.query_key_scale is not None:
            query, key = (self._run(self.block.query_key_scale, states) for states in (query, key))
        query = query * size ** (-0.5 if self.block.query_key_scale is None else 0.5)
        keys, values = self._remember(key, value.view(tokens, self.kv_heads, size), positions)
        query = query.view(tokens, self.kv_heads, self.group, size).permute(1, 2, 0, 3)
        scores = torch.bmm(query.reshape(self.kv_heads, self.group * tokens, size), keys)
        scores = scores.view(self.kv_heads, self.group, tokens, mask.shape[1]) + mask
        weights = torch.softmax(scores, dim=-1).view(self.kv_heads, self.group * tokens, mask.shape[1])
        attended = torch.bmm(weights, values).view(self.kv_heads, self.group, tokens, size)
        return self._run(self.block.output, attended.permute(2, 0, 1, 3).reshape(tokens, heads * size))

    def _remember(self, key: Tensor, value: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """The cache with ``[n, K, d]`` written at ``positions``, in place."""
        keys = torch.ops.aten.index_put_(self.keys, [None, None, positions], key.permute(1, 2, 0))
        values = torch.ops.aten.index_put_(self.values, [None, positions], value.permute(1, 0, 2))
        return keys, values

    def _turned(self, norm: str | None, states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """``[n, heads, d]``, normed where heads are, with pairs of dimensions turned by their position's angles."""
        if norm is not None and self._has(norm):
            states = self._run(norm, states)
        return states * cos + functional.linear(states, self.turn) * sin

    def _mlp(self, hidden: Tensor) -> Tensor:
        inputs = (self.block.up,) if self.block.gate is None else (self.block.gate, self.block.up)
        first, *rest = self._project(inputs, hidden)
        units = self.activation(first) * rest[0] if rest else self.activation(first)
        return self._run(self.block.down, units)

    def _project(self, names: tuple[str, ...], hidden: Tensor) -> list[Tensor]:
        """Outputs of the linears ``names``, fused or not."""
        found: dict[str, Tensor] = {}
        for name in names:
            home = self.fused.get(name, name)
            if home not in self.fused.values():
                found[name] = self._run(name, hidden)
            elif name not in found:
                found |= zip(
                    self.parts[home], torch.split(self._run(home, hidden), self.rows[home], dim=-1), strict=True
                )
        return [found[name] for name in names]

    def _rows_of(self, parts: tuple[str, ...], intermediate: int) -> list[int]:
        query, key, value = (self.block.query, self.block.key, self.block.value)
        size = self.kv_heads * self.head_dim
        rows = {query: self.group * size, key: size, value: size}
        return [rows.get(part, intermediate) for part in parts]

    def _run(self, name: str, *inputs: Tensor) -> Tensor:
        return cast("Tensor", self.get_submodule(name)(*inputs))

    def _has(self, name: str) -> bool:
        return any(known == name for known, _ in self.named_modules())


class Step(nn.Module):
    """The whole model over a static cache; parameters are on the meta device until they are given."""

    cos: Tensor
    sin: Tensor
    places: Tensor

    def __init__(self, anatomy: Anatomy, rotation: RotationTable, context_tokens: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        hidden, vocabulary = anatomy.sizes[HIDDEN_AXIS], anatomy.sizes[VOCABULARY_AXIS]
        final_norm = anatomy.table.block.final_norm
        self.final_norm = None if final_norm is None else f"model.{final_norm}"
        place(self, "model.embed_tokens", Linear(vocabulary, hidden, bias=False))
        if self.final_norm is not None:
            place(self, self.final_norm, make_norm(anatomy, hidden, f"{self.final_norm}."))
        self.lm_head = Linear(vocabulary, hidden, bias="lm_head.bias" in anatomy.tensors)
        layers = [StepLayer(anatomy, index, context_tokens, dtype) for index in range(anatomy.layer_count)]
        place(self, "model.layers", nn.ModuleList(layers))
        for layer in layers:
            layer.register_buffer("turn", rotation.turn.to(dtype, copy=True), persistent=False)
        self.register_buffer("cos", rotation.cos[:context_tokens].to(dtype), persistent=False)
        self.register_buffer("sin", rotation.sin[:context_tokens].to(dtype), persistent=False)
        self.register_buffer("places", torch.arange(context_tokens), persistent=False)

    def forward(self, token_ids: Tensor, start: Tensor) -> Tensor:
        """``[1, n]`` token ids at positions ``start [1]`` and after, to the logits ``[1, V]`` of the last."""
        positions = torch.arange(token_ids.shape[1]) + start
        hidden = functional.embedding(token_ids[0], self.get_parameter(EMBEDDING))
        cos, sin = (functional.embedding(positions, table)[:, None] for table in (self.cos, self.sin))
        mask = torch.where(self.places[None] <= positions[:, None], 0.0, MASKED).to(self.dtype)
        for layer in cast("nn.ModuleList", self.get_submodule("model.layers")):
            hidden = layer(hidden, cos, sin, mask, positions)
        last = hidden[-1:]
        if self.final_norm is not None:
            last = self.get_submodule(self.final_norm)(last)
        return cast("Tensor", self.lm_head(last))


def source_of(name: str, anatomy: Anatomy) -> str:
    """The checkpoint's tensor for parameter ``name``: its own, or the embedding for a tied head."""
    return EMBEDDING if name == HEAD and HEAD not in anatomy.tensors else name


def give(step: nn.Module, make: Callable[[str, torch.Size], Tensor]) -> None:
    """Replace every parameter of ``step`` by ``make(name, shape)``."""
    for name, parameter in list(step.named_parameters()):
        path, _, leaf = name.rpartition(".")
        setattr(step.get_submodule(path), leaf, nn.Parameter(make(name, parameter.shape), requires_grad=False))
