"""Conversations of several turns, made of instructions, whose last turn is about an earlier one.

    User: (question 1)                      User: What did I ask you second?
    Assistant: (answer 1)        ──>        ──> (question 2)
    User: (question 2) ...                  or: Repeat your first answer. ──> (answer 1)

The whole conversation but the last answer is the prompt, so that any chat template can hold it.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from harness.corpora.generators.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.corpora.rows import Sample

PARENT: Final = "rules:conversations@1"
MAX_CHARACTERS: Final = 240
"""Of a question and of an answer: longer ones are left out, for a turn has to be repeated to the letter."""
USER: Final = "User: "
ASSISTANT: Final = "Assistant: "
ORDINALS: Final = ("first", "second", "third", "fourth", "fifth")


def conversations(instructions: Sequence[Sample], *, seed: int, most_turns: int = 4) -> Iterator[Problem]:
    """Conversations of 2 to ``most_turns`` instructions, without end.

    Raises:
        ValueError: ``most_turns`` is not 2 to 5, or fewer instructions than that are short and of one line.
    """
    if not 2 <= most_turns <= len(ORDINALS):  # noqa: PLR2004 - one turn has no earlier one
        raise ValueError(f"most_turns must be 2 to {len(ORDINALS)}, got {most_turns}")
    pairs = list(dict.fromkeys((str(one.prompt), one.text) for one in instructions if _fits(one)))
    if len(pairs) < most_turns:
        raise ValueError(f"conversations of {most_turns} turns need as many short instructions, got {len(pairs)}")
    rng = Random(f"conversations {seed}")
    while True:
        yield conversation(rng, rng.sample(pairs, rng.randint(2, most_turns)))


def conversation(rng: Random, pairs: Sequence[tuple[str, str]]) -> Problem:
    """The conversation of ``pairs``, and a last turn about one of them."""
    about = rng.randrange(len(pairs))
    question, answer = pairs[about]
    last, wanted = rng.choice(
        (
            (f"What was the {ORDINALS[about]} thing I asked you?", question),
            (f"Repeat your {ORDINALS[about]} answer.", answer),
        )
    )
    turns = [f"{USER}{asked}\n{ASSISTANT}{said}" for asked, said in pairs]
    return Problem(prompt="\n".join([*turns, f"{USER}{last}"]), text=wanted, answer=wanted)


def _fits(sample: Sample) -> bool:
    both = (sample.prompt or "", sample.text)
    return all(text == text.strip() and 0 < len(text) <= MAX_CHARACTERS and "\n" not in text for text in both)
