"""Boolean expressions, reduced one kind of operator at a time (brackets, not, and, or).

not ( True and False ) or False is
not False or False = True or False = True. So the answer is True.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.pico.corpus.item import Item

if TYPE_CHECKING:
    from random import Random

_WORDS = ("False", "True")
_EXTRA_SHARE = 0.3


def expression(rng: Random) -> Item:
    """An expression of two to five values and its reduction to one."""
    tokens = _tokens(rng)
    text = " ".join(tokens)
    steps = _reduce(tokens)
    answer = f"{' = '.join(steps)}. So the answer is {steps[-1]}."
    return Item(
        kind="boolean",
        language="en",
        content=text,
        document=f"{text} = {' = '.join(steps)}.",
        user=f"{text} is",
        answer=answer,
        record={"input": f"{text} is", "target": steps[-1]},
    )


def _tokens(rng: Random) -> list[str]:
    parts = _chain(rng, rng.randint(2, 3), bracket=True)
    return parts if parts not in (["True"], ["False"]) else ["not", *parts]


def _chain(rng: Random, terms: int, *, bracket: bool) -> list[str]:
    tokens: list[str] = []
    for place in range(terms):
        if place:
            tokens.append(rng.choice(("and", "or")))
        if rng.random() < _EXTRA_SHARE:
            tokens.append("not")
        if bracket and rng.random() < _EXTRA_SHARE:
            tokens += ["(", *_chain(rng, 2, bracket=False), ")"]
            bracket = False
        else:
            tokens.append(rng.choice(_WORDS))
    return tokens


def _reduce(tokens: list[str]) -> list[str]:
    """Every form on the way from the expression (left out) to one value."""
    forms: list[str] = []
    while len(tokens) > 1:
        tokens = _step(tokens)
        forms.append(" ".join(tokens))
    return forms


def _step(tokens: list[str]) -> list[str]:
    if "(" in tokens:
        start, end = tokens.index("("), tokens.index(")")
        inner = tokens[start + 1 : end]
        reduced = inner if len(inner) == 1 else _step(inner)
        kept = reduced if len(reduced) == 1 else ["(", *reduced, ")"]
        return [*tokens[:start], *kept, *tokens[end + 1 :]]
    if "not" in tokens:
        return _without_not(tokens)
    return _fold(tokens, "and") if "and" in tokens else _fold(tokens, "or")


def _without_not(tokens: list[str]) -> list[str]:
    out: list[str] = []
    for word in tokens:
        if out and out[-1] == "not" and word in _WORDS:
            out[-1] = _WORDS[word == "False"]
        else:
            out.append(word)
    return out


def _fold(tokens: list[str], operator: str) -> list[str]:
    """Replace the leftmost `x operator y` by its value."""
    place = tokens.index(operator)
    left, right = tokens[place - 1] == "True", tokens[place + 1] == "True"
    value = (left and right) if operator == "and" else (left or right)
    return [*tokens[: place - 1], _WORDS[value], *tokens[place + 2 :]]
