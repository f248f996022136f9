"""Early rules: what is decided stays decided. The extractors here are OpenCompass 0.5.4's, restated."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.toolchains.opencompass.worker.engine.early import COMMONSENSE_PATTERN, RULES, rule_for
from harness.toolchains.opencompass.worker.engine.stopping import Reader, Stops

PIECES = [
    *"SoABCZ(). \n`7-.ai仙",
    "so the answer is",
    "answer is ",
    "answer i",
    "```",
    "```py\n",
    "Question:",
    "tion:",
    "(B)",
]
TEXT = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


def commonsense(text):
    found = re.search(COMMONSENSE_PATTERN, text)
    return found.group(1) if found else ""


def capital(text):
    return next((character for character in text if character.isupper()), "")


def code(text):
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    return (blocks[0] if blocks else text).lstrip()


def option(text):
    parts = text.split("answer is ")
    text = parts[1].strip() if len(parts) != 1 else text
    found = re.search(r"\(([A-Z])\)*", text) or re.search(r"([A-Z])", text)
    return found.group(1) if found else text


def number(text):
    numbers = re.findall(r"\-?\d+\.\d+|\-?\d+", text.split("Question:")[0])
    return numbers[-1] if numbers else "NULL"


EXTRACTORS = {
    "match_answer_pattern": commonsense,
    "first_capital_postprocess": capital,
    "humaneval_postprocess_v2": code,
    "bbh_mcq_postprocess": option,
    "gsm8k_postprocess": number,
}
DECIDED = {
    "match_answer_pattern": "Hm. So the answer is B",
    "first_capital_postprocess": "选C",
    "humaneval_postprocess_v2": "```python\nreturn 1\n```",
    "bbh_mcq_postprocess": "the answer is (D",
    "gsm8k_postprocess": "7\nQuestion:",
}


class TestRules:
    @pytest.mark.parametrize("name", RULES)
    @given(start=TEXT, rest=TEXT)
    def test_no_continuation_changes_what_is_extracted(self, name, start, rest):
        """Once the rule holds, it holds for every longer text, and the extractor gives the same."""
        if RULES[name](start):
            assert RULES[name](start + rest)
            assert EXTRACTORS[name](start) == EXTRACTORS[name](start + rest)

    @pytest.mark.parametrize("name", RULES)
    def test_is_of_use(self, name):
        """A plain answer decides it, and not before its last character."""
        assert RULES[name](DECIDED[name])
        assert not RULES[name](DECIDED[name][:-1])

    def test_an_option_without_brackets_is_open(self):
        """One in brackets may follow, and would count."""
        assert not RULES["bbh_mcq_postprocess"]("the answer is B. ")


class TestRuleFor:
    def test_knows_functions_and_names(self):
        assert rule_for({"type": "opencompass.datasets.gsm8k_postprocess"}) == "gsm8k_postprocess"
        assert rule_for({"type": capital}) is None

    @pytest.mark.parametrize(
        "postprocessor",
        [
            None,
            {"type": "opencompass.x.last_capital_postprocess"},
            {"type": "x.match_answer_pattern", "answer_pattern": r"answer: (.*)"},
            {"type": "x.gsm8k_postprocess", "more": 1},
        ],
    )
    def test_another_extractor_has_no_rule(self, postprocessor):
        """Nor has a known one with arguments that no proof is about."""
        assert rule_for(postprocessor) is None


class TestReader:
    def test_holds_back_what_may_still_change(self):
        """An unfinished character, spaces that are cleaned, and the beginning of a word that the text is cut at."""
        stops = Stops(eos_token_ids=frozenset(), cut_words=("<end>",), early_rule="first_capital_postprocess")
        reader = Reader(stops, lambda ids: "".join(map(chr, ids)), cleans_spaces=True)
        assert reader.final_text([*map(ord, "answer B"), *[32] * 8]) == "answer B"
        assert reader.final_text(list(map(ord, "ab\N{REPLACEMENT CHARACTER}" + " " * 8))) == "ab"
        assert reader.ended_by(list(map(ord, "B<end"))) is None

    def test_finds_stop_words(self):
        stops = Stops(eos_token_ids=frozenset(), stop_words=("##",), cut_words=("##",))
        reader = Reader(stops, lambda ids: "".join(map(chr, ids)), cleans_spaces=False)
        assert reader.ended_by(list(map(ord, "a##"))) == "stop"
        assert reader.ended_by(list(map(ord, "a#"))) is None
        assert [tokens for tokens in range(1, 40) if reader.due(tokens)] == [2, 4, 8, 16, 32]
