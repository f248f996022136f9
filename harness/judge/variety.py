"""Whether a model's prediction depends on what it read at all.

A model whose last layers were zeroed, or whose activations all saturate, gives every position the same distribution.
Its likelihood is finite and its bits per byte look like those of a weak model; they are those of a constant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

POSITIONS = 64
"""Of each batch that are looked at, until one is found that differs."""
SAME_NATS = 1e-6
"""Log-probabilities closer than this are the same: far below what one token of context changes in any model."""


class Variety:
    """Sees predictions as they come, and knows afterwards whether there was more than one."""

    def __init__(self) -> None:
        self._first: Tensor | None = None
        self._varies = False
        self._seen = 0
        self._is_uniform = False

    def see(self, logits: Tensor) -> None:
        """Look at ``logits``, ``[positions, vocab]``; nothing is computed once a difference was found."""
        if self._varies:
            return
        found = logits[:POSITIONS].float().log_softmax(-1)
        if self._first is None:
            self._first = found[0].clone()
            self._is_uniform = bool((found[0].max() - found[0].min()) <= SAME_NATS)
        self._seen += len(found)
        # NaN differs from everything: the caller speaks of what is not finite.
        self._varies = not bool(((found - self._first).abs() <= SAME_NATS).all())

    @property
    def fault(self) -> str | None:
        """What is wrong, as the end of a sentence about the model; None where nothing is, or one position was seen."""
        if self._varies or self._seen < 2:  # noqa: PLR2004 - two positions can be the same
            return None
        if self._is_uniform:
            return "it gives every token the same probability at every position (all logits are equal)"
        return "it predicts the same distribution at every position, whatever stands before it (constant logits)"
