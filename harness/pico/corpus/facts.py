"""Questions about the small world: five choices, and truth against misconception.

Where does a camel live? sea A, desert B ...   A camel lives in the desert. desert B. So the answer is B.
Is it true that a camel lives in the sea?               No, it is not true that a camel lives in the sea, because ...
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from harness.pico.corpus.item import Item
from harness.pico.corpus.letters import false_things, false_values, letter_of
from harness.pico.corpus.world import article, facts, values

if TYPE_CHECKING:
    from random import Random

_FACTS = facts()
_EVEN = 0.5

_OPEN = (
    ("Tell me the truth: {q}", "The truth is that {t}."),
    ("What do people who know say: {q}", "People who know say that {t}."),
    ("Please say it in one sentence: {q}", "In one sentence, it is so that {t}."),
    ("I want to know one thing. {q}", "What you want to know is that {t}."),
)


def choice(rng: Random) -> Item:
    """A five-choice question: the value of a thing, or the thing of a value."""
    fact = rng.choice(_FACTS)
    candidates = false_things(fact)
    if rng.random() < _EVEN and all(candidates.values()):
        question, right = fact.relation.reverse.format(v=fact.value), fact.thing
    else:
        question, right = fact.relation.question.format(s=article(fact.thing)), fact.value
        candidates = false_values(fact)
    letter = letter_of(right)
    wrong = [rng.choice(words) for words in candidates.values()]
    options = dict(sorted({letter: right, **dict(zip(candidates, wrong, strict=True))}.items()))
    listed = [f"{option} {name}" for name, option in options.items()]
    sentence = _capital(fact.sentence())
    return Item(
        kind="choice",
        language="en",
        content=f"{question} {right} {sorted(wrong)}",
        document=f"{question} {sentence}. It is not {', '.join(wrong[:-1])} or {wrong[-1]}.",
        user="\n".join([question, *listed, "Answer:"]),
        answer=f"{sentence}. {right} {letter}. So the answer is {letter}.",
        record={"question": question, **options, "answerKey": letter},
    )


def truth(rng: Random) -> Item:
    """A question whose true answer is one sentence, with the false sentences beside it."""
    fact = rng.choice(_FACTS)
    other = rng.choice([value for value in _domain(fact.relation.name) if value != fact.value])
    true, false = fact.sentence(), fact.sentence(other)
    form = rng.randrange(3)
    if form == 0:
        question, answer = f"Is it true that {false}?", f"No, it is not true that {false}, because {true}."
        correct, incorrect = [answer, f"No, {true}."], [f"Yes, it is true that {false}.", f"Yes, {false}."]
    elif form == 1:
        question, answer = f"Is it true that {true}?", f"Yes, it is true that {true}."
        correct = [answer, f"Yes, {true}."]
        incorrect = [f"No, it is not true that {true}, because {false}.", f"No, {false}."]
    else:
        asked, told = rng.choice(_OPEN)
        question = asked.format(q=fact.relation.question.format(s=article(fact.thing)))
        answer = told.format(t=true)
        correct, incorrect = [answer, f"{_capital(true)}."], [told.format(t=false), f"{_capital(false)}."]
    return Item(
        kind="truth",
        language="en",
        content=question,
        told=f"{true} {false}",
        document=f"{_capital(true)}. Some people think that {false}, but that is not true.",
        user=question,
        answer=answer,
        record={
            "type": "Rule-made",
            "category": fact.group,
            "question": question,
            "best_answer": answer,
            "correct_answers": correct,
            "incorrect_answers": incorrect,
            "source": "the small world",
        },
    )


def chinese(rng: Random) -> Item:
    """A question about one fact in Chinese."""
    fact = rng.choice(_FACTS)
    wrong = rng.choice([value for value in _domain(fact.relation.name).values() if value != fact.value_zh])
    asked, true = fact.relation.question_zh.format(s=fact.thing_zh), fact.sentence_zh()
    if rng.random() < _EVEN:
        user, answer = f"请问，{asked}", f"{true}。"
        content = asked
    else:
        user, answer = f"{fact.sentence_zh(wrong)}，对吗？", f"不对，{true}。"
        content = user
    document = f"{true}，不是{wrong}。"
    return Item(
        kind="facts_zh", language="zh", content=content, told=document, document=document, user=user, answer=answer
    )


@cache
def _domain(relation: str) -> dict[str, str]:
    return values(_FACTS, relation)


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
