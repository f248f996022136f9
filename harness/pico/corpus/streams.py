"""Endless streams of the corpus: items of one split, as C4 documents or Alpaca instructions.

    rules (weights) -> Item -> key -> split ?-> documents()      {text, url, timestamp}
                                             `-> instructions()  {instruction, input, output}

Nothing is stored: the same split and seed give the same stream. A stream never ends and may repeat an item of a small
kind; no key ever appears in two splits, and no document.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from harness.pico.corpus import arithmetic, boolean, counting, facts, idioms, python_code, reasoning, stories

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.pico.corpus.item import Item, Language, Split

# The weights put about one fifth of the items in Chinese.
_RULES: dict[str, tuple[Callable[[Random], Item], int]] = {
    "arithmetic": (arithmetic.english, 18),
    "boolean": (boolean.expression, 14),
    "counting": (counting.objects, 12),
    "colours": (reasoning.colours, 10),
    "order": (reasoning.order, 6),
    "choice": (facts.choice, 14),
    "truth": (facts.truth, 10),
    "story": (stories.english, 6),
    "function": (python_code.function, 12),
    "snippet": (python_code.snippet, 6),
    "idiom": (idioms.cloze, 14),
    "arithmetic_zh": (arithmetic.chinese, 4),
    "facts_zh": (facts.chinese, 4),
    "story_zh": (stories.chinese, 3),
}


def kinds() -> tuple[str, ...]:
    """Names of all kinds of items."""
    return tuple(_RULES)


def items(split: Split, *, seed: int = 0, kind: str | None = None) -> Iterator[Item]:
    """The endless stream of items of a split, of one kind or of all by weight.

    Raises:
        KeyError: if `kind` is not one of `kinds()`.
    """
    rng = Random(f"{seed}/{split}/{kind or 'all'}")
    rules = list(_RULES.values()) if kind is None else [_RULES[kind]]
    makers, weights = [rule for rule, _ in rules], [weight for _, weight in rules]
    while True:
        # The kind is drawn before the split is known, so every split has the same share of each kind.
        maker = rng.choices(makers, weights)[0]
        item = maker(rng)
        while item.split != split:
            item = maker(rng)
        yield item


def documents(split: Split, *, seed: int = 0, language: Language | None = None) -> Iterator[dict[str, str]]:
    """Rows in C4's schema (`text`, `url`, `timestamp`); the url names language, kind and key."""
    for item in items(split, seed=seed):
        if language in (None, item.language) and item.has_document_in(split):
            yield document_row(item)


def instructions(split: Split, *, seed: int = 0, language: Language | None = None) -> Iterator[dict[str, str]]:
    """Rows in Alpaca's schema (`instruction`, `input`, `output`)."""
    for item in items(split, seed=seed):
        if language in (None, item.language):
            yield instruction_row(item)


def document_row(item: Item) -> dict[str, str]:
    """An item as a C4 row."""
    url = f"https://pico.invalid/{item.language}/{item.kind}/{item.key}"
    # C4 rows carry the time of the crawl; a rule-made row has none, so it is one fixed day.
    return {"text": item.document, "url": url, "timestamp": "2024-01-01T00:00:00Z"}


def instruction_row(item: Item) -> dict[str, str]:
    """An item as an Alpaca row."""
    return {"instruction": item.user, "input": item.context, "output": item.answer}


def user_turn(instruction: str, context: str) -> str:
    """The user's turn of an Alpaca row: the passage, if any, below the instruction."""
    return f"{instruction}\n{context}" if context else instruction
