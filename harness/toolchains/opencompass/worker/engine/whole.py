"""Any causal model of transformers through its own forward: the same shared beginning, the same batches."""

# ruff: noqa: ANN401 - transformers has few types

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(slots=True, kw_only=True)
class _State:
    cache: Any
    mask: Tensor
    """``[B, tokens so far]``, int64: 0 before the first own token of a row."""
    positions: Tensor
    """``[B]``: of the next token."""


class WholeDecoder:
    """Satisfies `decoder.Decoder`."""

    name = "transformers"

    def __init__(self, model: Any) -> None:
        self._model, self._device = model, model.device
        # transformers renames it from one release to the next.
        named = inspect.signature(model.forward).parameters
        self._cache_name = "cache" if "cache" in named else "past_key_values"

    def share(self, token_ids: Sequence[int]) -> Any:
        """A cache of one row, or None."""
        if not token_ids:
            return None
        from transformers import DynamicCache

        cache = DynamicCache(config=self._model.config)
        self._model(torch.tensor([token_ids], device=self._device), logits_to_keep=1, **{self._cache_name: cache})
        return cache

    def begin(self, shared: Any, rows: Sequence[Sequence[int]], max_new_tokens: int) -> tuple[_State, Tensor]:  # noqa: ARG002 - its cache grows
        """One forward over the rest of every row."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self._model.config) if shared is None else copy.deepcopy(shared)
        before = 0 if shared is None else shared.get_seq_length()
        if before:
            cache.batch_repeat_interleave(len(rows))
        width = max(len(row) for row in rows)
        token_ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=self._device)
        own = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=self._device)
        positions = before + (own.cumsum(-1) - 1).clamp(min=0)
        mask = torch.cat([own.new_ones((len(rows), before)), own], dim=-1)
        state = _State(cache=cache, mask=mask, positions=positions[:, -1] + 1)
        return state, self._forward(state, token_ids, positions)

    def step(self, state: _State, token_ids: Tensor) -> Tensor:
        """One more token of every row."""
        state.mask = torch.cat([state.mask, state.mask.new_ones((len(token_ids), 1))], dim=-1)
        logits = self._forward(state, token_ids[:, None], state.positions[:, None])
        state.positions = state.positions + 1
        return logits

    def keep(self, state: _State, rows: Tensor) -> None:
        """Drop all other rows."""
        state.cache.batch_select_indices(rows)
        state.mask, state.positions = state.mask[rows], state.positions[rows]

    def _forward(self, state: _State, token_ids: Tensor, positions: Tensor) -> Tensor:
        outputs = self._model(
            token_ids,
            attention_mask=state.mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
            **{self._cache_name: state.cache},
        )
        logits: Tensor = outputs.logits[:, -1]
        return logits
