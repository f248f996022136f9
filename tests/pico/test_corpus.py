"""The embedded corpus: deterministic, held out by content, answers true."""

# ruff: noqa: S102, S307 -- the tests evaluate what the rules wrote, some of it in Chinese
from __future__ import annotations

import re
from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.pico.corpus import documents, instructions, items, kinds, split_of
from harness.pico.corpus.boolean import expression
from harness.pico.corpus.counting import objects
from harness.pico.corpus.idioms import BLANK, IDIOMS, cloze
from harness.pico.corpus.python_code import function, snippet
from harness.pico.corpus.world import facts

seeds = st.integers(min_value=0, max_value=2**32).map(Random)


class TestStreams:
    """`documents`, `instructions` and `items`."""

    def test_same_seed_same_rows(self):
        """A stream is a function of split and seed."""
        assert list(islice(documents("train", seed=3), 50)) == list(islice(documents("train", seed=3), 50))
        assert list(islice(instructions("train", seed=3), 50)) != list(islice(instructions("train", seed=4), 50))

    def test_schemas(self):
        """Documents have C4's fields, instructions Alpaca's, and all values are text."""
        document, instruction = next(documents("validation")), next(instructions("validation"))
        assert set(document) == {"text", "url", "timestamp"}
        assert set(instruction) == {"instruction", "input", "output"}
        assert all(isinstance(value, str) for value in (*document.values(), *instruction.values()))

    def test_documents_are_held_out_too(self):
        """No document of the validation split is ever shown in training, whatever question came with it."""
        held_out = {row["text"] for row in islice(documents("validation"), 300)}
        assert not held_out & {row["text"] for row in islice(documents("train"), 6000)}

    @pytest.mark.parametrize("kind", kinds())
    def test_splits_are_disjoint(self, kind):
        """No key of a held-out item ever comes in another split."""
        keys = {
            split: {item.key for item in islice(items(split, kind=kind), 300)}
            for split in ("train", "validation", "test")
        }
        assert all(split_of(key) == split for split, found in keys.items() for key in found)
        assert not keys["train"] & (keys["validation"] | keys["test"])

    def test_sum_is_held_out_in_both_languages(self):
        """A word problem's numbers are held out in Chinese where they are in English."""
        held_out = {item.content for item in islice(items("test", kind="arithmetic"), 300)}
        trained = {item.content for item in islice(items("train", kind="arithmetic_zh"), 3000)}
        assert not held_out & trained

    def test_languages_are_mixed(self):
        """Between a tenth and a third of the text is Chinese."""
        rows = list(islice(items("train"), 4000))
        sizes = {
            language: sum(len(row.document.encode()) for row in rows if row.language == language)
            for language in ("en", "zh")
        }
        assert 0.1 < sizes["zh"] / sum(sizes.values()) < 0.34

    def test_language_filter(self):
        """A stream of one language names that language in every url."""
        assert all("/zh/" in row["url"] for row in islice(documents("train", language="zh"), 50))


class TestAnswers:
    """Every answer is what its question asks for."""

    @given(seeds)
    def test_boolean(self, rng):
        """The target of an expression is its value in Python, and so is every step on the way."""
        item = expression(rng)
        value = eval(item.content)
        assert item.record["target"] == str(value)
        steps = item.answer.split(". So")[0].split(" = ")
        assert all(eval(step) == value for step in steps)

    @pytest.mark.parametrize("kind", ["arithmetic", "arithmetic_zh"])
    def test_arithmetic(self, kind):
        """Every step of a word problem is a true equation, and the last one gives the answer."""
        for item in islice(items("train", kind=kind), 300):
            *steps, final = item.answer.split("\n")
            results = [int(step.split(" = ")[1]) for step in steps]
            assert [eval(step.split(" = ")[0]) for step in steps] == results
            assert final == f"#### {results[-1]}"

    @given(seeds)
    def test_counting(self, rng):
        """The running total only grows and ends in the target."""
        item = objects(rng)
        totals = [int(total) for total in re.findall(r" (\d+)\.", item.answer.split(" So ")[0])]
        assert totals == sorted(set(totals))
        assert totals[-1] == int(item.record["target"])

    @given(seeds)
    def test_functions_pass_their_check(self, rng):
        """A prompt with its solution, and the fenced answer, pass the check; a wrong body does not."""
        record = (item := function(rng)).record
        fenced = re.findall(r"```python\n(.*?)```", item.answer, re.DOTALL)[0]
        for body in (record["canonical_solution"], fenced):
            assert _passes(record, body)
        assert not _passes(record, "    return 'nothing'\n")

    @given(seeds)
    def test_snippets(self, rng):
        """The value of a snippet is what Python says."""
        item = snippet(rng)
        assert item.answer == f"The value is {eval(item.content)}."

    @given(seeds)
    def test_idiom(self, rng):
        """Seven distinct known idioms, one blank, and the letter in the answer names the right one."""
        item = cloze(rng)
        candidates = item.record["candidates"]
        assert len(set(candidates)) == 7
        assert set(candidates) <= set(IDIOMS)
        assert item.record["content"].count(BLANK) == 1
        assert item.answer == f"应填{candidates[item.record['answer']]} {'ABCDEFG'[item.record['answer']]}。"

    @pytest.mark.parametrize("kind", ["choice", "colours", "order"])
    def test_letters(self, kind):
        """The letter that an answer ends with is that of an option that the answer names."""
        for item in islice(items("train", kind=kind), 200):
            options = set(_options(item))
            named = {match for match in options if f"{match[0]} {match[1]}." in item.answer}
            assert re.findall(r"([A-G])\)?\.", item.answer)[-1] in {letter for _, letter in named}


class TestWorld:
    """The small world is consistent."""

    def test_one_value_for_thing_and_relation(self):
        """No thing has two values of one relation."""
        pairs = [(fact.thing, fact.relation.name) for fact in facts()]
        assert len(pairs) == len(set(pairs))

    def test_translations_agree(self):
        """One English value of a relation has one Chinese value, and the other way round."""
        seen = {(fact.relation.name, fact.value, fact.value_zh) for fact in facts()}
        assert len(seen) == len({entry[:2] for entry in seen}) == len({entry[::2] for entry in seen})

    def test_a_word_keeps_its_letter(self):
        """A word, a colour or an idiom that is offered twice has the same letter both times."""
        for kind in ("choice", "colours", "idiom"):
            options = [option for item in islice(items("train", kind=kind), 500) for option in _options(item)]
            assert len(set(options)) == len({word for word, _ in options}) > 1

    def test_choices_have_one_right_answer(self):
        """In a five-choice question only the right option is true."""
        known = {(fact.relation.reverse.format(v=fact.value), fact.thing) for fact in facts()}
        for item in islice(items("train", kind="choice"), 1000):
            question, right = item.record["question"], item.record[item.record["answerKey"]]
            others = [item.record[letter] for letter in "ABCDE" if letter != item.record["answerKey"]]
            assert right not in others
            assert not any((question, other) in known for other in others)


def _options(item):
    return re.findall(r"^(.+) ([A-G])$", item.user, re.MULTILINE)


def _passes(record, body):
    names = {}
    exec(f"{record['prompt']}{body}\n{record['test']}", names)
    try:
        names["check"](names[record["entry_point"]])
    except AssertionError:
        return False
    return True
