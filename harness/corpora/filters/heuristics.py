"""Documents that do not read like English prose: the quality rules of Gopher, and two of C4.

    Gopher (arXiv 2112.11446, section A.1.1)                        allowed
    words                                                           50 ... 100,000
    mean length of a word, in characters                            3 ... 10
    "#" and "..." or "…", for each word                             at most 0.1 of either
    lines that begin with a bullet                                  at most 0.9
    lines that end with an ellipsis                                 at most 0.3
    words with a letter in them                                     at least 0.8
    of: the be to of and that have with                             at least 2 different ones
    C4 (arXiv 1910.10683, section 2.2)
    sentences                                                       at least 3
    "lorem ipsum"                                                   none

C4 itself was made by the latter two, so that they find work in other text only. Chinese has rules of its own
(``chinese``). A word is what stands between spaces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.corpora.filters.verdict import Verdict, dropped, kept

if TYPE_CHECKING:
    from collections.abc import Iterator

STOP_WORDS: Final = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
BULLETS: Final = ("•", "‣", "⁃", "▪", "●", "◦", "·", "*", "-", "–")  # noqa: RUF001 - bullets as they are found
_SENTENCE_END: Final = re.compile(r"[.!?][\"')\]”’]*(?=\s|$)")  # noqa: RUF001 - quotes as they are found
_ELLIPSIS: Final = re.compile(r"\.\.\.|…")
_LETTER: Final = re.compile(r"[^\W\d_]")

Broken = tuple[str, object]
"""A rule's name and what was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prose:
    """Drops a document that breaks a rule; the reason names the first that it breaks."""

    fewest_words: int = 50
    most_words: int = 100_000
    shortest_mean_word: float = 3.0
    longest_mean_word: float = 10.0
    largest_symbol_share: float = 0.1
    largest_bullet_share: float = 0.9
    largest_ellipsis_share: float = 0.3
    smallest_letter_share: float = 0.8
    fewest_stop_words: int = 2
    fewest_sentences: int = 3
    name: str = "prose"

    def __call__(self, text: str) -> Verdict:
        """Keep or drop."""
        broken = next(self._broken(text), None)
        return kept(text) if broken is None else dropped(*broken)

    def _broken(self, text: str) -> Iterator[Broken]:
        words = text.split()
        if len(words) < max(1, self.fewest_words):
            yield "few words", len(words)
            return  # the shares below need a word to be of
        if len(words) > self.most_words:
            yield "many words", len(words)
        yield from self._of_words(words)
        yield from self._of_symbols(text, len(words))
        yield from self._of_lines(text)

    def _of_words(self, words: list[str]) -> Iterator[Broken]:
        mean = sum(map(len, words)) / len(words)
        if not self.shortest_mean_word <= mean <= self.longest_mean_word:
            yield "mean word length", f"{mean:.1f}"
        letters = sum(_LETTER.search(word) is not None for word in words) / len(words)
        if letters < self.smallest_letter_share:
            yield "words without a letter", f"{1 - letters:.2f}"
        if len(STOP_WORDS.intersection(word.lower() for word in words)) < self.fewest_stop_words:
            yield "stop words", f"fewer than {self.fewest_stop_words}"

    def _of_symbols(self, text: str, word_count: int) -> Iterator[Broken]:
        for symbol, count in (("hashes", text.count("#")), ("ellipses", len(_ELLIPSIS.findall(text)))):
            if count > self.largest_symbol_share * word_count:
                yield symbol, f"{count} for {word_count} words"

    def _of_lines(self, text: str) -> Iterator[Broken]:
        lines = [stripped for line in text.split("\n") if (stripped := line.strip())]
        bullets = sum(line.startswith(BULLETS) for line in lines) / len(lines)
        if bullets > self.largest_bullet_share:
            yield "lines with bullets", f"{bullets:.2f}"
        ellipses = sum(line.endswith(("...", "…")) for line in lines) / len(lines)
        if ellipses > self.largest_ellipsis_share:
            yield "lines with ellipses", f"{ellipses:.2f}"
        if sum(1 for _ in _SENTENCE_END.finditer(text)) < self.fewest_sentences:
            yield "few sentences", f"fewer than {self.fewest_sentences}"
        if "lorem ipsum" in text.lower():
            yield "placeholder text", "lorem ipsum"
