"""Documents that do not read like Chinese prose: by their characters, punctuation and sentences.

    measure                                                              allowed
    Chinese characters                                                   at least 50
    of all characters but spaces, Chinese ones                           at least 0.6
    of the same, punctuation                                             0.02 ... 0.25
    sentences                                                            at least 2
    mean length of a sentence, in Chinese characters                     6 ... 120
    of the sentences, those with a comma or a function word in them      at least 0.5
    of Chinese characters, function words                                at least 0.03

The winner names MAP-NEO's pipeline and "sentence structure", no numbers: the bounds are ours. A sentence ends with
。!?; or a line; a function word is one of twenty frequent characters that carry grammar, which lists of names lack.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.corpora.filters.verdict import Verdict, dropped, kept

if TYPE_CHECKING:
    from collections.abc import Iterator

CHINESE: Final = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
FUNCTION_WORDS: Final = frozenset("的了是在不有和就也都而及与着或被把对从到")
PUNCTUATION: Final = frozenset("，。、；：？！“”‘’（）《》【】…—·,.;:?!\"'()[]{}<>/|\\*#&%$@~^_=+-")  # noqa: RUF001
COMMAS: Final = frozenset("，、：,")  # noqa: RUF001 - Chinese punctuation is meant
_SENTENCES: Final = re.compile(r"[。！？!?；;\n]+")  # noqa: RUF001 - likewise

Broken = tuple[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChineseProse:
    """Drops a document that breaks a rule; the reason names the first that it breaks."""

    fewest_characters: int = 50
    smallest_chinese_share: float = 0.6
    smallest_punctuation_share: float = 0.02
    largest_punctuation_share: float = 0.25
    fewest_sentences: int = 2
    shortest_mean_sentence: float = 6.0
    longest_mean_sentence: float = 120.0
    smallest_built_share: float = 0.5
    smallest_function_share: float = 0.03
    name: str = "Chinese prose"

    def __call__(self, text: str) -> Verdict:
        """Keep or drop."""
        broken = next(self._broken(text), None)
        return kept(text) if broken is None else dropped(*broken)

    def _broken(self, text: str) -> Iterator[Broken]:
        chinese = CHINESE.findall(text)
        if len(chinese) < max(1, self.fewest_characters):
            yield "few Chinese characters", len(chinese)
            return  # the shares below need a character to be of
        yield from self._of_characters(text, len(chinese))
        function = sum(character in FUNCTION_WORDS for character in chinese) / len(chinese)
        if function < self.smallest_function_share:
            yield "function words", f"{function:.3f}"
        yield from self._of_sentences(text)

    def _of_characters(self, text: str, chinese_count: int) -> Iterator[Broken]:
        total = sum(not character.isspace() for character in text)
        if chinese_count < self.smallest_chinese_share * total:
            yield "other scripts", f"{chinese_count / total:.2f} is Chinese"
        punctuation = sum(character in PUNCTUATION for character in text) / total
        if not self.smallest_punctuation_share <= punctuation <= self.largest_punctuation_share:
            yield "punctuation", f"{punctuation:.3f}"

    def _of_sentences(self, text: str) -> Iterator[Broken]:
        sentences = [part for part in _SENTENCES.split(text) if CHINESE.search(part)]
        if len(sentences) < self.fewest_sentences:
            yield "few sentences", len(sentences)
        mean = sum(len(CHINESE.findall(part)) for part in sentences) / len(sentences)
        if not self.shortest_mean_sentence <= mean <= self.longest_mean_sentence:
            yield "mean sentence length", f"{mean:.1f}"
        built = sum(not COMMAS.union(FUNCTION_WORDS).isdisjoint(part) for part in sentences) / len(sentences)
        if built < self.smallest_built_share:
            yield "sentence structure", f"{built:.2f}"
