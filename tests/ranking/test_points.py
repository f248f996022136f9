"""Points: what the rank-sum promises whatever the scores are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.ranking.points import award, order, places
from harness.rules.clauses import RankingRule

PRIZES = RankingRule().points
SCORES = st.lists(st.integers(0, 30).map(float) | st.just(math.nan), min_size=1, max_size=25)
"""Few values, so that there are ties; some absent."""
DISTINCT = st.lists(st.integers(0, 10_000), min_size=1, max_size=25, unique=True).map(
    lambda found: [*map(float, found)]
)
TIES = st.sampled_from(["mean", "best", "worst"])


def points(scores, ties="mean"):
    return award(np.array([scores], dtype=float), PRIZES, ties)[0].tolist()


class TestAward:
    def test_the_best_ten_get_ten_to_one(self):
        """And nobody after them gets anything."""
        assert points([float(score) for score in range(12)]) == [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]

    def test_equal_scores_share_the_mean_of_their_places(self):
        """Two on the second and third place get 8.5 each; three across the last prize get a third of it."""
        assert points([40.1, 38.0, 38.0, 12.5]) == [10, 8.5, 8.5, 7]
        assert points([float(score) for score in range(20, 11, -1)] + [1.0] * 3)[-3:] == pytest.approx([1 / 3] * 3)

    @given(scores=DISTINCT, ties=TIES)
    def test_points_of_a_column_are_constant(self, scores, ties):
        """Without ties the same points are given away, whatever the scores are."""
        assert sum(points(scores, ties)) == sum(PRIZES[: len(scores)])

    @given(scores=SCORES)
    def test_a_tie_creates_no_points(self, scores):
        """By the rule that ranks, ties do not change what a column gives away."""
        present = sum(not math.isnan(score) for score in scores)
        assert sum(points(scores)) == pytest.approx(sum(PRIZES[:present]))

    @given(scores=SCORES)
    def test_the_mean_lies_between_the_other_rules(self, scores):
        """Nobody gets more than the best of the shared places, or less than the worst."""
        for low, mean, high in zip(points(scores, "worst"), points(scores), points(scores, "best"), strict=True):
            assert low <= mean <= high

    @given(scores=SCORES, data=st.data(), ties=TIES)
    def test_order_of_entries_makes_no_difference(self, scores, data, ties):
        """Shuffled entries get shuffled points."""
        shuffled = data.draw(st.permutations(range(len(scores))))
        found = points(scores, ties)
        assert points([scores[place] for place in shuffled], ties) == [found[place] for place in shuffled]

    @given(scores=SCORES, another=st.integers(0, 30), ties=TIES)
    def test_one_more_entry_gives_nobody_points(self, scores, another, ties):
        """Whoever comes takes points or leaves them."""
        for before, after in zip(points(scores, ties), points([*scores, float(another)], ties), strict=False):
            assert after <= before + 1e-12

    @given(scores=SCORES, who=st.integers(0, 24), more=st.integers(0, 30), ties=TIES)
    def test_a_better_score_never_costs_points(self, scores, who, more, ties):
        """Its owner loses none, and nobody else wins any."""
        who %= len(scores)
        better = [score + more if place == who else score for place, score in enumerate(scores)]
        for place, (before, after) in enumerate(zip(points(scores, ties), points(better, ties), strict=True)):
            assert after >= before - 1e-12 if place == who else after <= before + 1e-12

    @given(scores=SCORES, factor=st.sampled_from([0.01, 1.0, 200.0]))
    def test_the_unit_makes_no_difference(self, scores, factor):
        """TruthfulQA as a fraction, in percent or doubled gives the same points."""
        assert points([score * factor for score in scores]) == points(scores)

    def test_rounding_makes_no_difference(self):
        """The same number of right answers, added up in another order, is the same score."""
        assert points([100 * (0.1 + 0.2), 30.0, 29.9]) == [9.5, 9.5, 8]

    @given(scores=SCORES)
    def test_an_absent_score_gets_nothing_and_takes_nothing(self, scores):
        """It stands behind every score, a zero too."""
        found = points([*scores, math.nan, 0.0])
        assert found[-2] == 0
        present = [score for score in [*scores, 0.0] if not math.isnan(score)]
        kept = [value for value, score in zip(found, [*scores, math.nan, 0.0], strict=True) if not math.isnan(score)]
        assert kept == points(present)

    def test_many_rows_are_each_its_own(self):
        """A row for each replicate."""
        rows = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 2.0], [math.nan, math.nan, 0.0]])
        assert award(rows, PRIZES).tolist() == [points(row) for row in rows.tolist()]

    def test_no_entries(self):
        """Nobody gets nothing."""
        assert award(np.zeros((2, 0)), PRIZES).shape == (2, 0)


class TestPlaces:
    @given(scores=SCORES)
    def test_a_place_is_one_more_than_who_is_better(self, scores):
        """By counting."""
        present = [-math.inf if math.isnan(score) else score for score in scores]
        wanted = [1 + sum(other > score for other in present) for score in present]
        assert places(np.array([scores]))[0].tolist() == wanted


class TestOrder:
    @given(scores=SCORES)
    def test_groups_are_whole(self, scores):
        """Each entry stands once, within its group."""
        found = order(np.array([scores]))
        assert sorted(found.entry[0].tolist()) == list(range(len(scores)))
        for position, (start, end) in enumerate(zip(found.start[0], found.end[0], strict=True)):
            assert start <= position < end
