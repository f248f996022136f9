"""When a row is through: an end of sequence by its number, stop words and early rules by the text so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .early import RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .answer import EndedBy

TEXT_EVERY = 16
"""Steps between two looks at the text: finding a stop word late costs steps, never a different text."""
FIRST_LOOKS = (2, 4, 8)
"""Short answers end early."""
CLEANED_CHARACTERS = 8
"""Of the end of a text that the tokenizer's cleaning of spaces may still change; its longest pattern has four."""
INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
"""What the bytes of an unfinished character are decoded to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stops:
    """What ends an answer, beside the limit of its length."""

    eos_token_ids: frozenset[int]
    stop_words: tuple[str, ...] = ()
    """To look for; those that an end of sequence stands for need no looking."""
    cut_words: tuple[str, ...] = ()
    """All that the text will be cut at, spelled by whatever tokens."""
    early_rule: str | None = None
    """A name in `early.RULES`."""


class Reader:
    """Looks at the text of rows."""

    def __init__(self, stops: Stops, decode: Callable[[Sequence[int]], str], *, cleans_spaces: bool) -> None:
        """``decode`` makes text of new tokens as the prediction will be made."""
        self._stops, self._decode = stops, decode
        # A word that the text will be cut at may have begun already.
        words = (*stops.stop_words, *stops.cut_words)
        self._held_back = max([CLEANED_CHARACTERS * cleans_spaces, *(len(word) - 1 for word in words)])
        self._decided = RULES[stops.early_rule] if stops.early_rule else None

    def due(self, tokens: int) -> bool:
        """Whether to look at rows of so many new tokens."""
        wanted = bool(self._stops.stop_words) or self._decided is not None
        return wanted and (tokens % TEXT_EVERY == 0 or tokens in FIRST_LOOKS)

    def ended_by(self, token_ids: Sequence[int]) -> EndedBy | None:
        """Why a row with these new tokens is through, if it is."""
        text = self._decode(token_ids)
        if any(word in text for word in self._stops.stop_words):
            return "stop"
        if self._decided is not None and self._decided(self._final(text)):
            return "early"
        return None

    def final_text(self, token_ids: Sequence[int]) -> str:
        """The beginning of the text that further tokens cannot change: what an early end was decided on."""
        return self._final(self._decode(token_ids))

    def _final(self, text: str) -> str:
        return text[: max(0, len(text) - self._held_back)].rstrip(INCOMPLETE)
