"""What a measurement needs of a package on a runtime: token ids in, the greedy next token id out.

    prefill(prompt) ──> next id     from an empty cache, in chunks as the package was exported
    step(id) ──────────> next id     one token, appended to the cache
    last_logits() ─────> [vocab]     of the token that was read last

A runtime's ``open_runner`` gives one; nothing here imports a runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class Runner(Protocol):
    """A loaded package with a cache of its own; not for use by two threads at once."""

    name: str
    """Runtime and version, e.g. ``executorch 1.5.1``."""
    dtype: str
    """Of the weights, as torch names it: ``float16`` or ``float32``."""
    context_tokens: int
    """Positions that the cache holds, prompt and answer together."""
    vocabulary_count: int
    """Logits of one position."""

    def prefill(self, token_ids: Sequence[int]) -> int:
        """Empty the cache, read ``token_ids``, return the most likely next token id.

        Raises:
            ValueError: no token ids, more than ``context_tokens``, or an id that the vocabulary has not.
        """

    def step(self, token_id: int) -> int:
        """Append ``token_id`` to what was read, return the most likely next token id.

        Raises:
            ValueError: nothing was read yet, the context is full, or an id that the vocabulary has not.
        """

    def last_logits(self) -> NDArray[np.float32]:
        """``[vocabulary_count]``: logits after the last token that was read; a copy.

        Raises:
            ValueError: nothing was read yet.
        """
