"""What a generator gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.corpora.rows import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A question with its answer worked out."""

    prompt: str
    """The user's turn."""
    text: str
    """The assistant's."""
    answer: str
    """What ``text`` comes to: a number, a literal, a letter, a sentence."""


def samples_of(problems: Iterable[Problem], *, data: str) -> Iterator[Sample]:
    """The problems as samples, numbered from 0, under the short name ``data`` of the set that they belong to."""
    for number, problem in enumerate(problems):
        yield Sample(text=problem.text, prompt=problem.prompt, data=data, row=number)
