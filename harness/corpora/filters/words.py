"""Documents with sensitive words, by a list that anybody can replace.

A word of letters that are separated by spaces counts as a whole word, in any case; one with Chinese characters counts
wherever it stands, for Chinese has no spaces. ``sensitive.txt`` is our own small default, not anybody's published list.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

from harness.corpora.filters.verdict import Verdict, dropped, kept

if TYPE_CHECKING:
    from collections.abc import Iterable

LIST_NAME: Final = "sensitive.txt"
_CHINESE: Final = re.compile(r"[\u3400-\u9fff]")
_LETTER: Final = r"[^\W\u3400-\u9fff]"


class SensitiveWords:
    """Drops a document that has more of the words than is let pass."""

    name = "words"

    def __init__(self, words: Iterable[str], *, largest_count: int = 0) -> None:
        """A filter for ``words``, of which a document may have ``largest_count``, the same one counted each time.

        Raises:
            ValueError: there is no word.
        """
        chosen = sorted({word.strip().lower() for word in words if word.strip()})
        if not chosen:
            raise ValueError("the list of sensitive words is empty; switch the filter off instead")
        self.largest_count = largest_count
        self._words = tuple(chosen)
        self._pattern = re.compile("|".join(map(_pattern, chosen)))

    def __call__(self, text: str) -> Verdict:
        """Keep or drop."""
        lowered, found = text.lower(), list[str]()
        if not any(word in lowered for word in self._words):  # much faster than the pattern, and mostly the end of it
            return kept(text)
        for match in self._pattern.finditer(lowered):
            found.append(match.group())
            if len(found) > self.largest_count:
                return dropped("sensitive words", ", ".join(found))
        return kept(text)


@cache
def default_words() -> tuple[str, ...]:
    """Our list."""
    return parse_words((resources.files("harness.corpora.filters") / LIST_NAME).read_text(encoding="utf-8"))


def parse_words(text: str) -> tuple[str, ...]:
    """One word a line; a line that begins with ``#`` says something about the list."""
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def _pattern(word: str) -> str:
    # Between Chinese and a letter there is no end of a word for \b, and to a reader there is.
    return re.escape(word) if _CHINESE.search(word) else rf"(?<!{_LETTER}){re.escape(word)}(?!{_LETTER})"
