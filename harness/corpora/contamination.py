"""How much of the scored tasks stands in the text that a run trains on: n-grams, hashed, words and characters apart.

    evaluation items ── words, 13 at a time ─────────────┐ 64-bit hashes, sorted: the sketch
                     └─ Chinese characters, 13 at a time ┘          │
    training texts ──── the same ───────────────────────────> look-up ──> items and samples that share a gram

A text is looked through for the first ``MIN_WORDS`` words of grams, and only one that has them for whole grams.

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

from harness.corpora.overlap import MAX_EXAMPLES, ItemMatch, OverlapExample, TaskMatches, TaskOverlap, merged

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
MAX_VOCABULARY: Final = 1 << 20
FILTER_SLOTS: Final = 1 << 23
"""One byte each; a gram whose slot is empty is in no item, and few others have to be searched for."""

_WORD = re.compile(r"[^\W_]+")
_CHINESE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]+")
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)  # odd, so that powers of it never vanish modulo 2**64


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """The grams of all items, and whose they are."""

    grams: Hashes
    """``[grams]``, ascending, unique."""
    heads: Hashes
    """``[heads]``, ascending, unique: the first ``MIN_WORDS`` words of every gram of words."""
    starts: NDArray[np.int64]
    """``[grams + 1]``: where the owners of each gram begin, and where the last one's end."""
    owners: NDArray[np.int64]
    """``[pairs]``: numbers of the items that have the gram."""
    ranks: NDArray[np.int64]
    """``[pairs]``: which of the item's own grams it is, ascending from 0."""
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
    own = [np.array(sorted(grams), dtype=np.uint64) for _, grams in kept]
    sizes = [len(grams) for grams in own]
    every = np.concatenate([*own, np.empty(0, dtype=np.uint64)])
    heads = {hasher.heads[gram] for _, grams in kept for gram in grams if gram in hasher.heads}
    order = np.argsort(every, kind="stable")
    unique, starts = np.unique(every[order], return_index=True)
    ranks = np.concatenate([*(np.arange(size) for size in sizes), np.empty(0, dtype=np.int64)])
    return Sketch(
        grams=unique,
        heads=np.array(sorted(heads), dtype=np.uint64),
        starts=np.append(starts, len(every)),
        owners=np.repeat(np.arange(len(kept)), sizes)[order],
        ranks=ranks[order],
        lengths=tuple(sorted({GRAM_WORDS, *hasher.short_lengths})),
        items=tuple((item.task, item.item) for item, _ in kept),
        sizes=tuple(sizes),
    )


class Lookup:
    """Finds the grams of a sketch in texts; several scanners of a process share one."""

    def __init__(self, wanted: Sketch) -> None:
        self.sketch = wanted
        self._hasher = _Hasher()
        self._heads = _Known(wanted.heads)
        self._grams = _Known(wanted.grams)

    def found(self, text: str) -> list[tuple[int, int]]:
        """Items that share a gram with ``text``, each with the rank of that gram; by gram."""
        words, characters = self._hasher.streams(text)
        grams = _grams(characters, (GRAM_CHARACTERS,))
        if len(self._heads.places(_heads(words))):
            grams += _grams(words, self.sketch.lengths)
        places = [self._grams.places(one) for one in grams]
        return [pair for place in np.unique(np.concatenate(places)) for pair in self._pairs(place)] if places else []

    def _pairs(self, place: int) -> Iterator[tuple[int, int]]:
        owned = slice(self.sketch.starts[place], self.sketch.starts[place + 1])
        return zip(self.sketch.owners[owned].tolist(), self.sketch.ranks[owned].tolist(), strict=True)


class Scanner:
    """Takes the texts of a pass one by one; memory grows with what is found, not with what is read."""

    def __init__(self, wanted: Sketch | Lookup) -> None:
        self._lookup = wanted if isinstance(wanted, Lookup) else Lookup(wanted)
        self._sketch = self._lookup.sketch
        self._seen: dict[int, int] = {}
        self._samples: Counter[str] = Counter()
        self._examples: dict[str, list[OverlapExample]] = {}
        self.text_count = 0

    def add(self, text: str) -> bool:
        """Look at the next text; whether it shares a gram with an item."""
        number, self.text_count = self.text_count, self.text_count + 1
        found = self._lookup.found(text)
        for owner, rank in found:
            self._seen[owner] = self._seen.get(owner, 0) | 1 << rank
        touched = [self._sketch.items[owner] for owner in dict.fromkeys(owner for owner, _ in found)]
        self._samples.update({task for task, _ in touched})
        for task, item in touched:
            kept = self._examples.setdefault(task, [])
            if len(kept) < MAX_EXAMPLES:
                kept.append(OverlapExample(item=item, sample=number))
        return bool(touched)

    def matches(self) -> tuple[TaskMatches, ...]:
        """What was found so far, a record for each task, to be put together with that of other passes."""
        counts = Counter(task for task, _ in self._sketch.items)
        found: dict[str, list[ItemMatch]] = {task: [] for task in counts}
        for owner, seen in sorted(self._seen.items()):
            task, item = self._sketch.items[owner]
            found[task].append(ItemMatch(item=item, gram_count=self._sketch.sizes[owner], seen=f"{seen:x}"))
        return tuple(
            TaskMatches(
                task=task,
                item_count=counts[task],
                sample_count=self._samples[task],
                items=tuple(found[task]),
                examples=tuple(self._examples.get(task, ())),
            )
            for task in sorted(counts)
        )

    def overlaps(self) -> tuple[TaskOverlap, ...]:
        """What was found so far, counted, a record for each task."""
        return merged([(0, self.matches())])


class _Known:
    """A set of hashes; most values that are not in it are told apart by one look at a table."""

    def __init__(self, values: Hashes) -> None:
        self._values = values
        self._slots = np.zeros(FILTER_SLOTS, dtype=np.bool_)
        self._slots[_slot(values)] = True

    def places(self, values: Hashes) -> NDArray[np.intp]:
        """Where those of ``values`` that are known stand."""
        values = values[self._slots[_slot(values)]]
        places = np.searchsorted(self._values, values)
        return places[self._values[np.minimum(places, len(self._values) - 1)] == values] if len(values) else places


class _Hasher:
    """Texts as hashes of their grams; words keep the hash that they were given first."""

    def __init__(self) -> None:
        self._words: dict[str, int] = {}
        self.short_lengths: set[int] = set()
        self.heads: dict[int, int] = {}
        """Gram of words to the hash of its first words."""

    def item(self, segments: Iterable[str]) -> set[int]:
        """The distinct grams of an item; a segment of fewer words than a gram is one, if it is not too short."""
        found: set[int] = set()
        for segment in segments:
            words, characters = self.streams(segment)
            length = min(len(words), GRAM_WORDS)
            if length >= MIN_WORDS:
                self.short_lengths.add(length)
                (grams,) = _grams(words, (length,))
                self.heads.update(zip(grams.tolist(), _heads(words).tolist(), strict=False))
                found.update(grams.tolist())
            found.update(*(grams.tolist() for grams in _grams(characters, (GRAM_CHARACTERS,))))
        return found

    def streams(self, text: str) -> tuple[Hashes, Hashes]:
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


def _heads(words: Hashes) -> Hashes:
    """``[n]`` to ``[n - MIN_WORDS + 1]``: the polynomial of every run of so many, each time from two of half of it."""
    width, total = 1, words
    while width < MIN_WORDS:
        total = total[:-width] * np.uint64(pow(int(_MULTIPLIER), width, 1 << 64)) + total[width:]
        width *= 2
    return total


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
