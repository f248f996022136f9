"""Two entries on one task: the right test for what is known, and exact where it says exact."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.ranking.columns import columns_of
from harness.ranking.pairs import holm, mcnemar, task_pair, task_pairs
from tests.ranking.make import EDITION, entrant, items, with_items

COLUMNS = {column.name: column for column in columns_of(EDITION, ())}


class TestMcnemar:
    @given(first=st.integers(0, 9), second=st.integers(0, 9))
    def test_is_the_share_of_coin_tosses_as_uneven(self, first, second):
        """By counting all of them."""
        count = first + second
        uneven = sum(abs(2 * sum(toss) - count) >= abs(first - second) for toss in product((0, 1), repeat=count))
        assert mcnemar(first, second) == pytest.approx(min(1.0, uneven / 2**count))

    def test_many_items(self):
        """No overflow, and a known value: 60 to 40 of 100."""
        assert mcnemar(60, 40) == pytest.approx(0.0569, abs=1e-4)
        assert mcnemar(3300, 3211) == pytest.approx(math.erfc(88 / math.sqrt(2 * 6511)), rel=0.02)


class TestHolm:
    @given(p=st.lists(st.floats(0, 1), max_size=8))
    def test_never_below_the_plain_value_nor_above_bonferroni(self, p):
        """And in the same order."""
        for plain, corrected in zip(p, holm(p), strict=True):
            assert plain <= corrected <= min(1.0, len(p) * plain) + 1e-12
        order = sorted(range(len(p)), key=lambda number: p[number])
        found = [holm(p)[number] for number in order]
        assert found == sorted(found)


class TestTaskPair:
    def test_one_model_on_the_same_items_is_mcnemar(self):
        """With the two counts that it is made from."""
        first, second = with_items("a", {"gsm8k": [1, 1, 1, 0, 0]}), with_items("b", {"gsm8k": [1, 0, 0, 0, 1]})
        found = task_pair(first, second, COLUMNS["gsm8k"])
        assert found.test == "McNemar, exact"
        assert (found.first_only, found.second_only, found.p_value) == (2, 1, 1.0)
        assert found.difference == pytest.approx(20)

    def test_several_models_are_paired_by_item(self):
        """McNemar would count answers to one item as independent."""
        first = with_items("a", {"gsm8k": [[1, 1, 0, 0], [1, 1, 1, 0]]})
        second = with_items("b", {"gsm8k": [[0, 1, 0, 0], [1, 0, 0, 0]]})
        found = task_pair(first, second, COLUMNS["gsm8k"])
        assert found.test == "paired by item"
        assert 0 < found.p_value < 1

    def test_without_common_items_it_says_so(self):
        """And is less sure than with them."""
        right, wrong = [1] * 60 + [0] * 40, [1] * 45 + [0] * 55
        first, second = with_items("a", {"gsm8k": right}), with_items("b", {"gsm8k": wrong})
        other = replace(second, items={"gsm8k": items(wrong, key="other")})
        paired, unpaired = (task_pair(first, one, COLUMNS["gsm8k"]) for one in (second, other))
        assert unpaired.test == "unpaired"
        assert unpaired.p_value > paired.p_value

    def test_in_the_scale_of_the_task(self):
        """TruthfulQA is a fraction."""
        first, second = with_items("a", {"truthful_qa": [1, 1, 0, 1]}), with_items("b", {"truthful_qa": [0, 0, 0, 1]})
        found = task_pair(first, second, COLUMNS["truthful_qa"])
        assert found.difference == pytest.approx(0.5)
        assert -1 <= found.low <= found.high <= 1

    def test_nothing_is_known_of_the_items(self):
        """No test."""
        assert task_pair(entrant("a", [1]), entrant("b", [2]), COLUMNS["commonsense_qa"]) is None
        assert task_pairs(entrant("a", [1]), entrant("b", [2]), tuple(COLUMNS.values())) == ()
