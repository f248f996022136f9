"""What of the scored tasks was seen in training text: exact in each pass, and passes put together make a step.

    pass over c4      item 12: grams 1…0110 ─┐ or
    pass over alpaca  item 12: grams 0…1011 ─┴──> item 12: 1…1111 ──> held, touched ──> TaskOverlap

Which grams were seen is kept by item, so that passes add up whichever process made them, resumed or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, NonNegativeInt, PositiveInt

from harness.document import Document

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

COVERED: Final = 0.5
"""An item is held when at least this share of its grams is in the training text."""
MAX_EXAMPLES: Final = 20


class OverlapExample(Document):
    """One place where training text and an item meet."""

    item: str
    sample: NonNegativeInt
    """Number of the text, counted from 0 in reading order; in a step, through its passes in the ledger's order."""


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


class ItemMatch(Document):
    """The grams of one item that were seen."""

    item: str
    gram_count: PositiveInt
    """Grams that the item has."""
    seen: Annotated[str, Field(pattern=r"^[0-9a-f]+$")]
    """A bit for each of them, the first one lowest; hexadecimal."""


class TaskMatches(Document):
    """What of one scored task was seen in one pass."""

    task: str
    item_count: NonNegativeInt
    sample_count: NonNegativeInt
    items: tuple[ItemMatch, ...] = ()
    """Of which a gram was seen, in the order of the evaluation set."""
    examples: tuple[OverlapExample, ...] = ()
    """The first places of the pass, at most ``MAX_EXAMPLES``."""


Pass = tuple[int, "Sequence[TaskMatches]"]
"""Samples of the passes before it, and what was seen in it."""


def merged(passes: Iterable[Pass]) -> tuple[TaskOverlap, ...]:
    """What of each task stands in the text of several passes together, by task name."""
    parts: dict[str, list[tuple[int, TaskMatches]]] = {}
    for before, matches in passes:
        for one in matches:
            parts.setdefault(one.task, []).append((before, one))
    return tuple(_task_overlap(task, parts[task]) for task in sorted(parts))


def _task_overlap(task: str, parts: Sequence[tuple[int, TaskMatches]]) -> TaskOverlap:
    seen: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for _, part in parts:
        for match in part.items:
            seen[match.item] = seen.get(match.item, 0) | int(match.seen, 16)
            sizes[match.item] = match.gram_count
    return TaskOverlap(
        task=task,
        item_count=max(part.item_count for _, part in parts),
        touched_count=len(seen),
        held_count=sum(mask.bit_count() >= COVERED * sizes[item] for item, mask in seen.items()),
        sample_count=sum(part.sample_count for _, part in parts),
        examples=tuple(_examples(parts))[:MAX_EXAMPLES],
    )


def _examples(parts: Iterable[tuple[int, TaskMatches]]) -> Iterator[OverlapExample]:
    for before, part in parts:
        for example in part.examples:
            yield OverlapExample(item=example.item, sample=before + example.sample)
