"""What the answering loop asks of a model: a shared beginning once, the rest of every row, then token after token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Decoder(Protocol):
    """Logits come in the dtype of the arithmetic, ``[rows, vocabulary]``, for the token after the last of each row."""

    name: str

    def share(self, token_ids: Sequence[int]) -> Any:  # noqa: ANN401 - the decoder's own
        """Keys and values of a beginning, computed once; ``[]`` gives none."""

    def begin(self, shared: Any, rows: Sequence[Sequence[int]], max_new_tokens: int) -> tuple[Any, Tensor]:  # noqa: ANN401
        """The state of a batch after the rest of every row, and its logits."""

    def step(self, state: Any, token_ids: Tensor) -> Tensor:  # noqa: ANN401
        """Append a token to every row; the logits behind it."""

    def keep(self, state: Any, rows: Tensor) -> None:  # noqa: ANN401
        """Drop all rows but these, given by their places, ascending."""
