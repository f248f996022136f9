"""Keys and values of a batch: one shared part without rows, one part per row, reserved in full at the beginning.

    layer   shared [K, P, d]     own [K, B, T, d]  the newest token of every row in the same column, so rows that are
                                                   shorter begin later: columns before that are masked

KV heads come first: so the products of all rows with the shared part are one multiplication per head, and those with
the own part read memory in the order in which it lies. K: KV heads, P: shared tokens, B: rows, T: columns, d: head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Keys and values of a beginning, per layer ``[K, P, d]``."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    tokens: int

    def at(self, layer: int) -> tuple[Tensor, Tensor] | None:
        """Keys and values of a layer, if anything is shared."""
        return (self.keys[layer], self.values[layer]) if self.tokens else None

    def before(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """A layer's own keys and values ``[K, B, S, d]`` behind the shared ones: ``[K, B, P + S, d]``."""
        if not self.tokens:
            return keys, values
        rows = keys.shape[1]
        joined = [
            torch.cat([shared[:, None].expand(-1, rows, -1, -1), own], dim=2)
            for shared, own in ((self.keys[layer], keys), (self.values[layer], values))
        ]
        return joined[0], joined[1]


NOTHING_SHARED = Shared(keys=(), values=(), tokens=0)


class Cache:
    """Of one batch."""

    def __init__(self, shared: Shared, keys: list[Tensor], values: list[Tensor], padding: Tensor, filled: int) -> None:
        """``padding``: ``[B]``, the columns before each row's first token; ``filled``: columns in use."""
        self.shared, self.keys, self.values = shared, keys, values
        self.padding, self.filled = padding, filled
        self._mask: Tensor | None = None
        self._even = not bool(padding.any())

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows; what is left is moved together, at the same columns."""
        self.keys = [self._kept(tensor, rows) for tensor in self.keys]
        self.values = [self._kept(tensor, rows) for tensor in self.values]
        self.padding, self._mask = self.padding[rows], None
        self._even = not bool(self.padding.any())

    def hidden(self) -> Tensor | None:
        """``[B, filled]``, bool: columns that are none of a row's; None where every column is."""
        if self._even:
            return None
        if self._mask is None:
            columns = torch.arange(self.keys[0].shape[2], device=self.padding.device)
            self._mask = columns < self.padding[:, None]
        return self._mask[:, : self.filled]

    def _kept(self, tensor: Tensor, rows: Tensor) -> Tensor:
        heads, _, columns, size = tensor.shape
        moved = tensor.new_empty((heads, len(rows), columns, size))
        moved[:, :, : self.filled] = tensor[:, rows, : self.filled]
        return moved
