"""Samples that rules write, for a mixture: each generator its share, one after the other in an even turn."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

from harness.corpora.feeds import Derived
from harness.corpora.generators import arithmetic, conversations, idioms, snippets
from harness.corpora.generators.problem import samples_of
from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.corpora.door import DataDoor
    from harness.corpora.generators.problem import Problem
    from harness_tinytron.data_options import Generator, RuleSource


def rule_samples(door: DataDoor, source: RuleSource, *, seed: int) -> Derived:
    """The samples of ``source``, shuffled by the seed, with the rules as parents.

    Raises:
        UsageError: a generator finds too little in what it is made of.
        DataNotAllowed: from the door.
    """
    total = sum(source.generators.values())
    problems: list[Problem] = []
    for name, weight in sorted(source.generators.items()):
        try:
            stream = _stream(door, source, name, seed)
            problems.extend(islice(stream, max(1, round(source.sample_count * weight / total))))
        except ValueError as error:
            raise UsageError(f"sources: generator {name}: {error}; raise read_count, or leave it out") from error
    Random(f"rules {seed}").shuffle(problems)
    parents = sorted({_PARENTS[name] for name in source.generators})
    return Derived(
        data=source.data,
        samples=[replace(sample, row=row) for row, sample in enumerate(samples_of(problems, data=source.data))],
        parents=tuple(parents),
        max_token_share=source.max_token_share,
    )


_PARENTS: dict[Generator, str] = {
    "arithmetic": arithmetic.PARENT,
    "snippets": snippets.PARENT,
    "conversations": conversations.PARENT,
    "idioms": idioms.PARENT,
}


def _stream(door: DataDoor, source: RuleSource, name: Generator, seed: int) -> Iterator[Problem]:
    match name:
        case "arithmetic":
            return arithmetic.arithmetic(seed=seed)
        case "snippets":
            return snippets.snippets(seed=seed)
        case "conversations":
            instructions = list(islice(door.open(source.instructions), source.read_count))
            return conversations.conversations(instructions, seed=seed)
        case "idioms":
            documents = [sample.text for sample in islice(door.open(source.documents), source.read_count)]
            return idioms.idiom_cloze(documents, idioms.mine_idioms(documents), seed=seed)
