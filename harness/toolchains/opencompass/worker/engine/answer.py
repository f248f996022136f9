"""What came out for one prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EndedBy = Literal["eos", "stop", "limit", "early"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The new tokens of one prompt, in order."""

    token_ids: tuple[int, ...]
    """The end of sequence included, where it came to that."""
    ended_by: EndedBy
    """``eos``: an end of sequence; ``stop``: a stop word; ``limit``: no more tokens allowed; ``early``: decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is known of one prompt's answer beside its text."""

    prompt_tokens: int
    generated_tokens: int
    ended_by: EndedBy
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
