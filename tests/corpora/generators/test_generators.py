# ruff: noqa: RUF001 - Chinese punctuation is meant
"""Answers are found again by evaluators that share nothing with the generators but the question."""

from __future__ import annotations

import ast
import contextlib
import gzip
import io
import operator
import re
from collections import Counter
from fractions import Fraction
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.corpora.derived import parent_kind
from harness.corpora.generators import arithmetic, conversations, idioms, snippets
from harness.corpora.generators.problem import samples_of
from harness.corpora.rows import Sample

seeds = st.integers(0, 10_000)
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: Fraction}
EVENTS = (
    (r"^(?:\w+) has (\d+) ", lambda _, number: number),
    (r"buys (\d+) more", operator.add),
    (r"gives (\d+) away", operator.sub),
    (r"gets (\d+) times as many", operator.mul),
    (r"divides them into (\d+) equal parts", Fraction),
)
PAIRS = [Sample(text=f"Answer {n}.", prompt=f"Question {n}?", data="alpaca", row=n) for n in range(20)]
IDIOMS = ("画蛇添足", "守株待兔", "亡羊补牢", "掩耳盗铃", "刻舟求剑", "杯弓蛇影", "井底观天", "滥竽充数", "卧薪尝胆")


def value_of(node):
    """Of an expression, by Python's own parser and fractions."""
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](value_of(node.left), value_of(node.right))
    if isinstance(node, ast.UnaryOp):
        return -value_of(node.operand)
    return node.value


def told(story):
    """What a story comes to, sentence by sentence."""
    total = 0
    for sentence in story.split(". "):
        for pattern, change in EVENTS:
            if found := re.search(pattern, sentence):
                total = change(total, int(found.group(1)))
    return total


def printed(code):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {})  # noqa: S102 - our own program
    return out.getvalue().strip()


class TestArithmetic:
    @given(seeds, st.integers(1, 5))
    def test_answers_are_right(self, seed, depth):
        """An independent evaluator of the question, and the last number of the text, give the answer."""
        for number, problem in enumerate(islice(arithmetic.arithmetic(seed=seed, depth=depth), 4)):
            asked = problem.prompt.removeprefix("What is ").removesuffix("?")
            value = told(problem.prompt) if number % 2 else value_of(ast.parse(asked, mode="eval").body)
            assert value == int(problem.answer)
            assert re.findall(r"-?\d+", problem.text)[-1] == problem.answer

    @given(seeds)
    def test_every_step_is_right(self, seed):
        """Both sides of each line are equal."""
        for problem in islice(arithmetic.arithmetic(seed=seed), 6):
            for line in problem.text.split("\n"):
                if "=" in line:
                    left, right = line.split(" = ")
                    assert value_of(ast.parse(left, mode="eval").body) == int(right)


class TestSnippets:
    @given(seeds, st.integers(1, 6))
    def test_the_program_prints_the_answer(self, seed, statements):
        """Run, it prints the answer, which is a literal."""
        for problem in islice(snippets.snippets(seed=seed, statements=statements), 6):
            code = problem.prompt.split("```python\n")[1].split("\n```")[0]
            assert printed(code) == problem.answer == problem.text
            assert repr(ast.literal_eval(problem.answer)) == problem.answer


class TestConversations:
    @given(seeds, st.integers(2, 5))
    def test_the_last_turn_is_answered_from_the_transcript(self, seed, most_turns):
        """Who reads the conversation finds the answer at the place that is asked for."""
        for problem in islice(conversations.conversations(PAIRS, seed=seed, most_turns=most_turns), 3):
            *turns, last = problem.prompt.split("\n")
            asked, said = (
                [turn.removeprefix(who) for turn in turns if turn.startswith(who)] for who in ("User: ", "Assistant: ")
            )
            place = next(at for at, word in enumerate(conversations.ORDINALS) if word in last)
            assert problem.answer == (said if "Repeat" in last else asked)[place]
            assert 2 <= len(asked) <= most_turns
            assert len(set(asked)) == len(asked)

    def test_needs_short_instructions(self):
        """Long ones and such of several lines are left out, and too few are told."""
        long = [
            Sample(text="x" * 300, prompt="q", data="alpaca", row=0),
            Sample(text="a\nb", prompt="q", data="a", row=1),
        ]
        with pytest.raises(ValueError, match="got 0"):
            next(conversations.conversations(long, seed=0))


def sentences(count):
    for number in range(count):
        idiom = IDIOMS[number % len(IDIOMS)]
        turn = number // len(IDIOMS)
        yield f"{'甲乙丙丁'[turn % 4]}说这{'是叫像'[turn % 3]}{idiom}{'吧呢啊'[turn % 3]}，大家都笑了第{number}次。"


class TestIdioms:
    def test_idioms_are_found_again(self):
        """Those put into sentences are mined, the most frequent first; the frame around them is not."""
        found = [idiom.text for idiom in idioms.mine_idioms(list(sentences(90)), smallest_association=6)]
        assert set(IDIOMS) <= set(found)

    @given(seeds)
    def test_one_gap_seven_options_one_right(self, seed):
        """The gap filled with the letter's option is a sentence of the text, and no other option stands twice."""
        documents = list(sentences(60))
        mined = tuple(idioms.Idiom(text=text, documents=3 + at) for at, text in enumerate(IDIOMS))
        for problem in idioms.idiom_cloze(documents, mined, seed=seed):
            question, *options, _ = problem.prompt.split("\n")
            table = dict(option.split(". ") for option in options)
            assert list(table) == list("ABCDEFG")
            assert len(set(table.values())) == 7
            assert question.count(idioms.GAP) == 1
            filled = [letter for letter, text in table.items() if question.replace(idioms.GAP, text) in documents]
            assert filled == [problem.answer]

    def test_letters_are_drawn_evenly(self):
        """Each of the seven letters is right about as often as the others."""
        mined = tuple(idioms.Idiom(text=text, documents=3) for text in IDIOMS)
        letters = Counter(p.answer for p in idioms.idiom_cloze(list(sentences(1400)), mined, seed=0))
        expected = letters.total() / 7
        assert sum((letters[letter] - expected) ** 2 / expected for letter in "ABCDEFG") < 22.5  # p = 0.001, 6 freedoms

    def test_seven_are_needed(self):
        """Fewer idioms than options are told."""
        with pytest.raises(ValueError, match="got 0"):
            next(idioms.idiom_cloze([], (), seed=0))

    def test_real_text_has_idioms(self, shared_train):
        """From real sentences come questions with one gap."""
        with gzip.open(shared_train / "zh_web_text.txt.gz", "rt", encoding="utf-8") as lines:
            documents = list(islice(lines, 1000))
        mined = idioms.mine_idioms(documents)
        problems = list(islice(idioms.idiom_cloze(documents, mined, seed=0), 20))
        assert len(problems) == 20
        assert all(problem.prompt.count(idioms.GAP) == 1 for problem in problems)


STREAMS = {
    "arithmetic": lambda seed: arithmetic.arithmetic(seed=seed),
    "snippets": lambda seed: snippets.snippets(seed=seed),
    "conversations": lambda seed: conversations.conversations(PAIRS, seed=seed),
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_the_seed_decides(stream):
    """The same seed gives the same stream, another seed another."""
    first, again, other = (list(islice(stream(seed), 20)) for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize("module", [arithmetic, snippets, conversations, idioms])
def test_parents_are_rules(module):
    """What is entered in the ledger is of the kind that the edition's clause bounds."""
    assert parent_kind(module.PARENT) == "rules"


def test_samples_are_numbered():
    """A problem's turns are a sample's."""
    problems = list(islice(arithmetic.arithmetic(seed=0), 3))
    samples = list(samples_of(problems, data="alpaca"))
    assert [(s.prompt, s.text, s.row) for s in samples] == [(p.prompt, p.text, n) for n, p in enumerate(problems)]
