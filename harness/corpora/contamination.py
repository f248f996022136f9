"""How much of the scored tasks stands in the text that a run trains on: n-grams, hashed, words and characters apart.

    evaluation items ── words, 13 at a time ─────────────┐ 64-bit hashes, sorted: the sketch
                     └─ Chinese characters, 13 at a time ┘          │
    training texts ──── the same ───────────────────────────> look-up ──> items and samples that share a gram

A question of fewer words than a gram, but at least ``MIN_WORDS``, is looked for whole. Grams that many items of a task
share are its template, not its content, and are left out. What is said verbatim is always found; a paraphrase never is.

Words and 13 of them: Brown et al. 2020, appendix C. Nothing but the sketch is kept: 8 bytes a gram.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import NonNegativeInt

from harness.document import Document

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from harness.corpora.evaluation_sets import EvaluationText

    Hashes = NDArray[np.uint64]

GRAM_WORDS: Final = 13
MIN_WORDS: Final = 8
GRAM_CHARACTERS: Final = 13
TEMPLATE_ITEMS: Final = 4
"""A gram in more items of one task than this is part of the task's template."""
COVERED: Final = 0.5
"""An item is held when at least this share of its grams is in the training text."""
MAX_EXAMPLES: Final = 20
MAX_VOCABULARY: Final = 1 << 20
FILTER_SLOTS: Final = 1 << 23
"""One byte each; a gram whose slot is empty is in no item, and few others have to be searched for."""

_WORD = re.compile(r"[^\W_]+")
_CHINESE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]+")
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)  # odd, so that powers of it never vanish modulo 2**64


class OverlapExample(Document):
    """One place where training text and an item meet."""

    item: str
    sample: NonNegativeInt
    """Number of the text, counted from 0 in reading order."""


class TaskOverlap(Document):
    """What of one scored task stands in the text of a step."""

    task: str
    item_count: NonNegativeInt
    """Items that are long enough to be looked for."""
    touched_count: NonNegativeInt
    """Items of which at least one gram was seen."""
    held_count: NonNegativeInt
    """Items of which most grams were seen."""
    sample_count: NonNegativeInt
    """Training samples that hold a gram of the task."""
    examples: tuple[OverlapExample, ...] = ()
    """The first places, at most ``MAX_EXAMPLES``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """The grams of all items, and whose they are."""

    grams: Hashes
    """``[grams]``, ascending, unique."""
    owners: tuple[tuple[int, ...], ...]
    """``[grams]``: numbers of the items that have the gram."""
    lengths: tuple[int, ...]
    """How many words the grams have, ascending."""
    items: tuple[tuple[str, str], ...]
    """Task and place of each item that has grams."""
    sizes: tuple[int, ...]
    """Distinct grams of each item."""


def contamination(texts: Iterable[str], evaluation: Sequence[EvaluationText] | Sketch) -> tuple[TaskOverlap, ...]:
    """What of each task of ``evaluation`` stands in ``texts``, by task name.

    Args:
        texts: training samples in reading order, prompt and answer together; read once.
        evaluation: the scored items, or their sketch where several steps are looked at.
    """
    scanner = Scanner(evaluation if isinstance(evaluation, Sketch) else sketch(evaluation))
    for text in texts:
        scanner.add(text)
    return scanner.overlaps()


def sketch(items: Sequence[EvaluationText]) -> Sketch:
    """The grams of ``items`` without those of their tasks' templates; items without a gram are left out."""
    hasher = _Hasher()
    grams = [hasher.item(item.segments) for item in items]
    shared = Counter((item.task, gram) for item, own in zip(items, grams, strict=True) for gram in own)
    kept = [
        (item, {gram for gram in own if shared[item.task, gram] <= TEMPLATE_ITEMS})
        for item, own in zip(items, grams, strict=True)
    ]
    kept = [(item, own) for item, own in kept if own]
    owners: dict[int, list[int]] = {}
    for number, (_, own) in enumerate(kept):
        for gram in own:
            owners.setdefault(gram, []).append(number)
    ordered = sorted(owners)
    return Sketch(
        grams=np.array(ordered, dtype=np.uint64),
        owners=tuple(tuple(owners[gram]) for gram in ordered),
        lengths=tuple(sorted({GRAM_WORDS, *hasher.short_lengths})),
        items=tuple((item.task, item.item) for item, _ in kept),
        sizes=tuple(len(own) for _, own in kept),
    )


class Scanner:
    """Takes training texts one by one; memory grows with what is found, not with what is read."""

    def __init__(self, wanted: Sketch) -> None:
        self._sketch = wanted
        self._hasher = _Hasher()
        self._slots = np.zeros(FILTER_SLOTS, dtype=np.bool_)
        self._slots[_slot(wanted.grams)] = True
        self._seen: dict[int, set[int]] = {}
        self._samples: Counter[str] = Counter()
        self._examples: dict[str, list[OverlapExample]] = {}
        self.text_count = 0

    def add(self, text: str) -> bool:
        """Look at the next text; whether it shares a gram with an item."""
        number, self.text_count = self.text_count, self.text_count + 1
        places = self._found(self._hasher.text(text, self._sketch.lengths))
        touched = dict.fromkeys(owner for place in places for owner in self._sketch.owners[place])
        for place in places:
            for owner in self._sketch.owners[place]:
                self._seen.setdefault(owner, set()).add(place)
        self._samples.update({self._sketch.items[owner][0] for owner in touched})
        for owner in touched:
            task, item = self._sketch.items[owner]
            kept = self._examples.setdefault(task, [])
            if len(kept) < MAX_EXAMPLES:
                kept.append(OverlapExample(item=item, sample=number))
        return bool(touched)

    def overlaps(self) -> tuple[TaskOverlap, ...]:
        """What was found so far, a record for each task."""
        counts = Counter(task for task, _ in self._sketch.items)
        touched = Counter(self._sketch.items[owner][0] for owner in self._seen)
        held = Counter(self._sketch.items[owner][0] for owner, seen in self._seen.items() if self._holds(owner, seen))
        return tuple(
            TaskOverlap(
                task=task,
                item_count=counts[task],
                touched_count=touched[task],
                held_count=held[task],
                sample_count=self._samples[task],
                examples=tuple(self._examples.get(task, ())),
            )
            for task in sorted(counts)
        )

    def _holds(self, owner: int, seen: set[int]) -> bool:
        return len(seen) >= COVERED * self._sketch.sizes[owner]

    def _found(self, grams: Hashes) -> list[int]:
        """Places in the sketch of those ``grams`` that it has."""
        known, grams = self._sketch.grams, grams[self._slots[_slot(grams)]]
        if not len(grams):
            return []
        places = np.minimum(np.searchsorted(known, grams), len(known) - 1)
        return [int(place) for place in np.unique(places[known[places] == grams])]


class _Hasher:
    """Texts as hashes of their grams; words keep the hash that they were given first."""

    def __init__(self) -> None:
        self._words: dict[str, int] = {}
        self.short_lengths: set[int] = set()

    def item(self, segments: Iterable[str]) -> set[int]:
        """The distinct grams of an item; a segment of fewer words than a gram is one, if it is not too short."""
        found: set[int] = set()
        for segment in segments:
            words, characters = self._streams(segment)
            length = min(len(words), GRAM_WORDS)
            if length >= MIN_WORDS:
                self.short_lengths.add(length)
                found.update(*(grams.tolist() for grams in _grams(words, (length,))))
            found.update(*(grams.tolist() for grams in _grams(characters, (GRAM_CHARACTERS,))))
        return found

    def text(self, text: str, lengths: Sequence[int]) -> Hashes:
        """All grams of a training text, words in each of ``lengths``."""
        words, characters = self._streams(text)
        grams = [*_grams(words, lengths), *_grams(characters, (GRAM_CHARACTERS,))]
        return np.concatenate(grams) if grams else np.empty(0, dtype=np.uint64)

    def _streams(self, text: str) -> tuple[Hashes, Hashes]:
        """Hashes of the words and of the Chinese characters of ``text``, in order; neither has punctuation or case."""
        plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
        chinese = "" if text.isascii() else "".join(_CHINESE.findall(plain))
        words = _WORD.findall((_CHINESE.sub(" ", plain) if chinese else plain).lower())
        points = np.frombuffer(chinese.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
        return np.fromiter(self._known(words), dtype=np.uint64, count=len(words)), _mixed(points)

    def _known(self, words: Iterable[str]) -> Iterator[int]:
        if len(self._words) > MAX_VOCABULARY:
            self._words.clear()
        for word in words:
            known = self._words.get(word)
            if known is None:
                known = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
                self._words[word] = known
            yield known


def _grams(values: Hashes, lengths: Sequence[int]) -> list[Hashes]:
    """``[n]`` hashes to ``[n - length + 1]`` for each of ``lengths``, ascending: every run of it as a polynomial.

    A longer run goes on from the shorter one, so that all lengths cost what the longest does.
    """
    found: list[Hashes] = []
    total = np.zeros(len(values), dtype=np.uint64)
    for offset in range(min(lengths[-1], len(values))):
        total = total[: len(values) - offset] * _MULTIPLIER + values[offset:]
        if offset + 1 in lengths:
            found.append(_mixed(total + np.uint64(offset + 1)))
    return found


def _slot(grams: Hashes) -> NDArray[np.intp]:
    return (grams & np.uint64(FILTER_SLOTS - 1)).astype(np.intp)


def _mixed(values: Hashes) -> Hashes:
    """A bijection that spreads neighbouring values (the finaliser of SplitMix64; Steele et al. 2014)."""
    mixed: Hashes = values ^ (values >> np.uint64(30))
    mixed = mixed * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed = mixed * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
