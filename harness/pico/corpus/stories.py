"""Small stories, and questions answered from the story alone.

Tom went to the farm and saw a horse. Anna put the map in the box. ...   Where is the map? The map is in the box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.pico.corpus.item import Item
from harness.pico.corpus.world import NAMES, NAMES_ZH, Fact, article, facts

if TYPE_CHECKING:
    from random import Random

_ANIMALS = tuple(fact for fact in facts() if fact.group == "animal" and fact.relation.name in ("home", "food"))
_TOOLS = tuple(fact for fact in facts() if fact.group == "tool" and fact.relation.name == "use")
_CONTAINERS = ("box", "bag", "basket", "drawer", "car", "chest")
_CONTAINERS_ZH = ("盒子", "书包", "篮子", "抽屉", "车", "柜子")
_STARTS = ("In the morning", "One day", "Yesterday", "Last week", "After school", "On Sunday")


def english(rng: Random) -> Item:
    """A story of three sentences in English and one question about it."""
    name, other = rng.sample(NAMES, 2)
    animal, tools = rng.choice(_ANIMALS), rng.sample(_TOOLS, 2)
    places = rng.sample(_CONTAINERS, 2)
    put = [
        f"{who} put the {tool.thing} in the {place}."
        for who, tool, place in zip((name, other), tools, places, strict=True)
    ]
    met = f"{rng.choice(_STARTS)} {name} saw {article(animal.thing)}, and {animal.sentence()}."
    story = " ".join([met, *put])
    question, answer = _ask(rng, names=(name, other), animal=animal, tools=tools, places=places)
    return Item(
        kind="story",
        language="en",
        content=f"{story} {question}",
        document=f"{story} {tools[0].sentence().capitalize()}.",
        user=question,
        context=story,
        answer=answer,
    )


def _ask(rng: Random, *, names: tuple[str, str], animal: Fact, tools: list[Fact], places: list[str]) -> tuple[str, str]:
    which = rng.randrange(2)
    owner, thing, place = names[which], tools[which].thing, places[which]
    return rng.choice(
        (
            (f"Where is the {thing}?", f"The {thing} is in the {place}."),
            (f"Who put the {thing} in the {place}?", f"{owner} put the {thing} in the {place}."),
            (f"What did {owner} put in the {place}?", f"{owner} put the {thing} in the {place}."),
            (f"Which animal did {names[0]} see?", f"{names[0]} saw {article(animal.thing)}."),
        )
    )


def chinese(rng: Random) -> Item:
    """A story of two sentences in Chinese and one question about it."""
    names = rng.sample(NAMES_ZH, 2)
    tools, places = rng.sample(_TOOLS, 2), rng.sample(_CONTAINERS_ZH, 2)
    put = [f"{who}把{tool.thing_zh}放在{place}里。" for who, tool, place in zip(names, tools, places, strict=True)]
    story, which = "".join(put), rng.randrange(2)
    owner, thing, place = names[which], tools[which].thing_zh, places[which]
    question, answer = rng.choice(
        (
            (f"{thing}在哪里？", f"{thing}在{place}里。"),
            (f"谁把{thing}放在{place}里？", f"{owner}把{thing}放在{place}里。"),
        )
    )
    return Item(
        kind="story_zh",
        language="zh",
        content=f"{story}{question}",
        document=f"{story}{tools[0].sentence_zh()}。",
        user=question,
        context=story,
        answer=answer,
    )
