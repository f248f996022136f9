"""Idiom cloze: a sentence with a gap, seven options, one of them right. The idioms are mined from the same text.

    documents ── four characters in a row ── not by chance, no grammar, several documents ──> idioms
    sentence with one idiom ──> sentence with ______ , A ... G, the letter

There is no word list behind it (CHID's own would leak the scored task): four characters count as an idiom when their
two halves meet far more often than by chance, in several documents, beside different neighbours. In web text most of
what passes are set phrases and names rather than idioms; a cloze of those is a cloze all the same.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from harness.corpora.filters.chinese import FUNCTION_WORDS
from harness.corpora.generators.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PARENT: Final = "rules:idioms@1"
LETTERS: Final = "ABCDEFG"
GAP: Final = "______"
LENGTH: Final = 4
SMALLEST_ASSOCIATION: Final = 11.0
MIN_NEIGHBOURS: Final = 3
"""Different characters before it, and after: fewer, and it is a piece of something longer."""
NEAR: Final = 40
"""Distractors come from so many idioms next in frequency, and from those that share a character."""
_RUN: Final = re.compile(r"[\u4e00-\u9fff]{4,}")
_SENTENCE: Final = re.compile(r"[^。！？\n]{8,120}[。！？]")  # noqa: RUF001 - Chinese punctuation is meant
_COMMON: Final = FUNCTION_WORDS.union("我你他她它们这那个一来去上下中里为以可会要能说很都没还")


@dataclass(frozen=True, slots=True, kw_only=True)
class Idiom:
    """Four characters that belong together."""

    text: str
    documents: int
    """In how many it stands."""


def mine_idioms(
    documents: Iterable[str], *, min_documents: int = 3, smallest_association: float = SMALLEST_ASSOCIATION
) -> tuple[Idiom, ...]:
    """The idioms of ``documents``, the most frequent first, equals by their characters.

    Args:
        documents: Chinese text.
        min_documents: that an idiom stands in.
        smallest_association: bits by which its halves meet more often than by chance.
    """
    places: defaultdict[str, set[int]] = defaultdict(set)
    sides: defaultdict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    halves: Counter[str] = Counter()
    quads: Counter[str] = Counter()
    for number, text in enumerate(documents):
        for run in _RUN.finditer(text):
            span = run.group()
            halves.update(span[at : at + 2] for at in range(len(span) - 1))
            for at in range(len(span) - LENGTH + 1):
                quad = span[at : at + LENGTH]
                if _COMMON.isdisjoint(quad) and len(set(quad)) >= LENGTH - 1:
                    quads[quad] += 1
                    places[quad].add(number)
                    sides[quad][0].add(span[at - 1] if at else "")
                    sides[quad][1].add(span[at + LENGTH] if at + LENGTH < len(span) else "")
    found = [
        Idiom(text=quad, documents=len(places[quad]))
        for quad in quads
        if len(places[quad]) >= min_documents
        and min(map(len, sides[quad])) >= MIN_NEIGHBOURS
        and _association(quad, quads, halves) >= smallest_association
    ]
    return tuple(sorted(found, key=lambda idiom: (-idiom.documents, idiom.text)))


def idiom_cloze(documents: Sequence[str], idioms: Sequence[Idiom], *, seed: int) -> Iterator[Problem]:
    """Sentences of ``documents`` with one of ``idioms`` in them, once, in an order that the seed decides; they end.

    Raises:
        ValueError: there are fewer idioms than options.
    """
    if len(idioms) < len(LETTERS):
        raise ValueError(f"seven options need seven idioms, got {len(idioms)}")
    rng = Random(f"idioms {seed}")
    order = list(range(len(documents)))
    rng.shuffle(order)
    texts = [idiom.text for idiom in sorted(idioms, key=lambda one: (one.documents, one.text))]
    counts = sorted(idiom.documents for idiom in idioms)
    by_text = {idiom.text: idiom for idiom in idioms}
    for number in order:
        for match in _SENTENCE.finditer(documents[number]):
            sentence = match.group().strip()
            held = [quad for at in range(len(sentence)) if (quad := sentence[at : at + LENGTH]) in by_text]
            if len(held) == 1 and GAP not in sentence:
                near = bisect_left(counts, by_text[held[0]].documents)
                yield cloze(rng, sentence, held[0], _distractors(rng, held[0], texts, near))


def cloze(rng: Random, sentence: str, idiom: str, distractors: Sequence[str]) -> Problem:
    """The question whose gap ``idiom`` fills, the options in an order drawn at random."""
    options = [idiom, *distractors]
    rng.shuffle(options)
    letter = LETTERS[options.index(idiom)]
    listed = "\n".join(f"{name}. {option}" for name, option in zip(LETTERS, options, strict=True))
    asked = f"{sentence.replace(idiom, GAP)}\n{listed}\n请选择最恰当的词语填入横线处。"
    return Problem(prompt=asked, text=letter, answer=letter)


def _distractors(rng: Random, idiom: str, texts: Sequence[str], near: int) -> list[str]:
    """Six other idioms: those of like frequency, and those that share a character."""
    window = texts[max(0, near - NEAR) : near + NEAR]
    alike = [text for text in texts if not set(text).isdisjoint(idiom)]
    pool = [text for text in dict.fromkeys([*window, *alike]) if text != idiom]
    if len(pool) < len(LETTERS) - 1:
        pool = [text for text in texts if text != idiom]
    return rng.sample(pool, len(LETTERS) - 1)


def _association(quad: str, quads: Counter[str], halves: Counter[str]) -> float:
    """Pointwise mutual information of the two halves, in bits (Church and Hanks 1990)."""
    total = halves.total()
    return math.log2(quads[quad] * total / (halves[quad[:2]] * halves[quad[2:]]))
