"""A lean decoder over the weights of a stock checkpoint: no modules, no growing cache, no masks where none is needed.

The arithmetic is transformers', up to the order of sums; `layers` says which models it knows. Dimensions: B rows,
T tokens, D hidden, H query heads, K KV heads, d head size.
"""

# ruff: noqa: ANN401 - transformers' modules, by their attributes

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .attention import attend, attend_once
from .cache import NOTHING_SHARED, Cache, Shared
from .layers import Linear, final_norm, read_layers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .layers import Layer

PREFILL_TOKENS = {"cpu": 2048, "cuda": 16384}
"""Of several rows at once, padding included: enough to fill the machine, little enough for its caches."""


class LeanDecoder:
    """Satisfies `decoder.Decoder`."""

    name = "lean"

    def __init__(self, model: Any) -> None:
        """``model``: one that `layers.is_lean`; its weights are shared, not copied."""
        attention = model.model.layers[0].self_attn
        self._layers = read_layers(model)
        self._embeddings: Tensor = model.model.embed_tokens.weight.data
        self._norm, self._head = final_norm(model), _head(model)
        self._size: int = attention.head_dim
        self._scaling: float = attention.scaling
        self._heads: int = model.config.num_key_value_heads
        self._group: int = model.config.num_attention_heads // self._heads
        self._rotation = _Rotation(model.model.rotary_emb, self._embeddings.dtype)
        self._prefill_tokens = PREFILL_TOKENS.get(self._embeddings.device.type, PREFILL_TOKENS["cuda"])

    def share(self, token_ids: Sequence[int]) -> Shared:
        """Keys and values of a beginning."""
        if not token_ids:
            return NOTHING_SHARED
        cache = self._reserve(NOTHING_SHARED, [len(token_ids)], len(token_ids))
        self._prefill(cache, [token_ids], 0)
        return Shared(
            keys=tuple(keys[:, 0] for keys in cache.keys),
            values=tuple(values[:, 0] for values in cache.values),
            tokens=len(token_ids),
        )

    def begin(self, shared: Shared, rows: Sequence[Sequence[int]], max_new_tokens: int) -> tuple[Cache, Tensor]:
        """Prefill the rows, a few at a time; logits ``[B, V]``."""
        lengths = [len(row) for row in rows]
        cache = self._reserve(shared, lengths, max(lengths) + max_new_tokens)
        logits, first = [], 0
        while first < len(rows):
            count = max(1, self._prefill_tokens // max(lengths[first:]))
            logits.append(self._prefill(cache, rows[first : first + count], first))
            first += count
        return cache, torch.cat(logits)

    def step(self, state: Cache, token_ids: Tensor) -> Tensor:
        """One more token of every row."""
        column = state.filled
        state.filled += 1
        positions = (state.shared.tokens + column - state.padding)[:, None]
        hidden = state.hidden()

        def attention(index: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            state.keys[index][:, :, column] = keys[:, 0].transpose(0, 1)
            state.values[index][:, :, column] = values[:, 0].transpose(0, 1)
            own = state.keys[index][:, :, : state.filled], state.values[index][:, :, : state.filled]
            return attend_once(queries, own, state.shared.at(index), hidden, self._scaling)

        return self._run(token_ids[:, None], positions, attention)

    def keep(self, state: Cache, rows: Tensor) -> None:
        """Drop all other rows."""
        state.keep(rows)

    def _reserve(self, shared: Shared, lengths: Sequence[int], columns: int) -> Cache:
        """Room for ``columns`` columns, of which a prefill will fill those of the longest row."""
        filled, like = max(lengths), self._embeddings
        padding = torch.tensor([filled - length for length in lengths], device=like.device)
        shape = (self._heads, len(lengths), columns, self._size)
        keys, values = ([like.new_empty(shape) for _ in self._layers] for _ in range(2))
        return Cache(shared, keys, values, padding, filled)

    def _prefill(self, cache: Cache, rows: Sequence[Sequence[int]], first: int) -> Tensor:
        """Fill the columns of ``rows``, which stand at ``first`` and after it in the cache; their logits."""
        width = max(len(row) for row in rows)
        columns = slice(cache.filled - width, cache.filled)
        places = slice(first, first + len(rows))
        token_ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=self._embeddings.device)
        own = torch.arange(width, device=token_ids.device) - (cache.padding[places] - columns.start)[:, None]  # [B, T]
        even = all(len(row) == width for row in rows)
        seen = None if even and not cache.shared.tokens else _seen(own, cache.shared.tokens)

        def attention(index: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            own_keys, own_values = keys.permute(2, 0, 1, 3), values.permute(2, 0, 1, 3)
            cache.keys[index][:, places, columns] = own_keys
            cache.values[index][:, places, columns] = own_values
            # A weight of nothing times whatever memory held would be NaN where that was.
            cache.values[index][:, places, : columns.start] = 0
            whole = cache.shared.before(index, own_keys, own_values)
            last = seen if seen is None else seen[:, -queries.shape[1] :]
            return attend(queries, *whole, last, self._scaling)

        return self._run(token_ids, cache.shared.tokens + own.clamp(min=0), attention)

    def _run(self, token_ids: Tensor, positions: Tensor, attention: Any) -> Tensor:
        """``[B, T]`` tokens at ``[B, T]`` positions through all layers: logits ``[B, V]`` behind the last."""
        rotation = self._rotation.at(positions)
        hidden = self._embeddings[token_ids]
        for index, layer in enumerate(self._layers):
            normed = layer.norm(hidden)
            queries, keys, values = self._project(layer, normed, rotation)
            if index == len(self._layers) - 1:
                # Nothing looks at the last layer's other tokens; their keys and values are all that is kept.
                queries, normed, hidden = queries[:, -1:], normed[:, -1:], hidden[:, -1:]
            attended = layer.attention_out(attention(index, queries, keys, values))
            if layer.mlp_norm is None:
                hidden = attended + layer.mlp(normed) + hidden
            else:
                hidden = hidden + attended
                hidden = hidden + layer.mlp(layer.mlp_norm(hidden))
        return self._head(self._norm(hidden[:, -1]))

    def _project(self, layer: Layer, normed: Tensor, rotation: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries ``[B, T, K, G, d]``, keys and values ``[B, T, K, d]``."""
        rows, tokens = normed.shape[:2]
        joint = layer.attention_in(normed).view(rows, tokens, -1, self._size)
        rotated = self._rotation.turn(joint[:, :, : -self._heads], *rotation)
        queries, keys = rotated[:, :, : -self._heads], rotated[:, :, -self._heads :]
        return queries.view(rows, tokens, self._heads, self._group, self._size), keys, joint[:, :, -self._heads :]


class _Rotation:
    """Rotary positions: the frequencies are transformers' own, whatever the configuration makes of them."""

    def __init__(self, module: Any, dtype: torch.dtype) -> None:
        self._frequencies: Tensor = module.inv_freq.float()
        self._factor: float = module.attention_scaling
        self._dtype = dtype

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine, and sine with the sign of each half: ``[B, T, 1, rotated]``."""
        angles = positions[..., None].float() * self._frequencies
        cosine, sine = angles.cos() * self._factor, angles.sin() * self._factor
        both = torch.cat([cosine, cosine], dim=-1), torch.cat([-sine, sine], dim=-1)
        return both[0].to(self._dtype)[:, :, None], both[1].to(self._dtype)[:, :, None]

    def turn(self, heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Rotate the first part of every head of ``[B, T, heads, d]``, all of it where all is rotated."""
        size = cosine.shape[-1]
        part = heads[..., :size]
        turned = part * cosine + part.roll(size // 2, dims=-1) * sine
        return turned if size == heads.shape[-1] else torch.cat([turned, heads[..., size:]], dim=-1)


def _head(model: Any) -> Linear:
    head = model.lm_head
    return Linear(weight=head.weight.data, bias=None if head.bias is None else head.bias.data)


def _seen(own: Tensor, shared_tokens: int) -> Tensor:
    """Which columns a token sees: ``[B, T, P + T]`` from the places ``[B, T]`` of tokens in their rows.

    Shared ones, and own ones that are real and not later. A token in front of its row sees itself, to stay finite.
    """
    rows, width = own.shape
    steps = torch.arange(width, device=own.device)
    earlier = (steps <= steps[:, None]) & (own >= 0)[:, None]
    earlier |= torch.eye(width, dtype=torch.bool, device=own.device)
    return torch.cat([earlier.new_ones((rows, width, shared_tokens)), earlier], dim=-1)
