"""How sure the order is: replicates, intervals on places, shared places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.ranking.columns import columns_of
from harness.ranking.intervals import share_interval
from harness.ranking.pairing import pair, shares
from harness.ranking.rank_sum import standing
from harness.ranking.replicates import replicate
from harness.ranking.uncertainty import shared_places, uncertainty_of
from tests.ranking.make import EDITION, entrant, items, number, with_items

TASK = "gsm8k"
COLUMN = next(column for column in columns_of(EDITION, ()) if column.name == TASK)


def drawn(chances, *, count=200, seed=0, key="items"):
    """Entries that answer the same items right with those chances, named by their numbers."""
    generator = np.random.default_rng(seed)
    difficulty = generator.random(count)
    found = [with_items(f"e{n}", {TASK: (difficulty < chance).astype(np.uint8)}) for n, chance in enumerate(chances)]
    return [replace(one, items={TASK: items(one.items[TASK].right, key=key)}) for one in found]


class TestShares:
    @given(data=st.data())
    def test_are_the_scores_where_every_item_is_drawn_once(self, data):
        """With subsets, several models and items that are left out: the very number that is ranked."""
        sizes = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
        shape = (data.draw(st.integers(1, 3)), sum(sizes))
        entries = []
        for entry in range(data.draw(st.integers(1, 3))):
            bits = st.lists(st.booleans(), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])
            right, counted = (np.array(data.draw(bits)).reshape(shape) for _ in range(2))
            one = items(right & counted, subsets=sizes, counted=counted)
            entries.append(replace(entrant(f"{entry}", [1, 1, 1]), items={TASK: one}))
        paired, _ = pair(entries, COLUMN, np.array([1.0] * len(entries)))
        found = shares(paired, np.ones((1, shape[1]), dtype=np.float32))[0]
        assert found.tolist() == pytest.approx([share_interval(one.items[TASK]).value for one in entries])

    def test_the_largest_group_is_paired(self):
        """Whoever answered other items is compared by itself."""
        others = [replace(one, name=f"x{one.name}") for one in drawn([0.5], key="others")]
        entries = [*drawn([0.3, 0.4]), *others, entrant("none", [1, 1])]
        paired, unpaired = pair(entries, COLUMN, np.array([30.0, 40.0, 50.0, np.nan]))
        assert (paired.entries.tolist(), unpaired.entries.tolist()) == ([0, 1], [2])
        assert unpaired.item_count.tolist() == [200]


class TestReplicate:
    def test_the_same_seed_gives_the_same(self):
        """And another one another."""
        found = standing(drawn([0.5, 0.52, 0.54]), EDITION)
        first, again, other = (replicate(found, seed=seed, count=50).totals.tolist() for seed in (1, 1, 2))
        assert first == again != other

    @settings(max_examples=20)
    @given(chances=st.lists(st.floats(0, 1), min_size=1, max_size=12))
    def test_a_column_gives_the_same_points_away_every_time(self, chances):
        """However the items fall."""
        found = replicate(standing(drawn(chances, count=30), EDITION), seed=0, count=20)
        wanted = sum(EDITION.ranking.points[: len(chances)])
        assert found.totals.sum(axis=1).tolist() == pytest.approx([wanted] * 20, abs=1e-4)

    def test_equal_answers_stay_equal(self):
        """Paired entries with the same answers tie in every replicate; unpaired ones do not."""
        found = standing(drawn([0.5, 0.5]), EDITION)
        assert set(replicate(found, seed=0, count=50).places.ravel().tolist()) == {1}
        alone = [replace(one, items={}) for one in found.entrants]
        assert {1, 2} == set(replicate(standing(alone, EDITION), seed=0, count=50).places.ravel().tolist())

    def test_throughput_varies_by_its_repeats(self):
        """Where the repeats overlap the faster one is not always ahead."""
        speeds = {"a": (10.0, 12.0, 14.0, 11.0, 13.0), "b": (11.9, 12.1, 12.0, 11.8, 12.2), "c": (1.0,) * 5}
        entries = [
            replace(entrant(name, throughput=float(np.median(speed))), throughput_samples=(speed,))
            for name, speed in speeds.items()
        ]
        sure = uncertainty_of(found := standing(entries, EDITION), replicate(found, seed=0, count=200))
        index = {one.name: place for place, one in enumerate(found.entrants)}
        assert 0.2 < sure.beats[index["a"], index["b"]] < 0.8
        assert sure.beats[index["a"], index["c"]] == 1

    def test_a_score_of_which_nothing_is_known_is_taken_as_it_is(self):
        """No number of items, no scatter."""
        found = standing([entrant("a", [50.0]), entrant("b", [49.9])], EDITION)
        assert replicate(found, seed=0, count=20).places[:, 0].tolist() == [1] * 20

    def test_nobody(self):
        """An empty ranking has empty replicates."""
        found = standing([], EDITION)
        assert uncertainty_of(found, replicate(found, seed=0, count=5)).place_low.shape == (0,)


class TestUncertainty:
    def test_far_apart_is_certain(self):
        """The interval is the place, nobody shares."""
        found = standing(drawn([0.1, 0.5, 0.9]), EDITION)
        sure = uncertainty_of(found, replicate(found, seed=0, count=100))
        assert sure.place_low.tolist() == sure.place_high.tolist() == sure.shared_places.tolist() == [1, 2, 3]

    def test_close_together_shares_the_place(self):
        """What is told apart from nothing ahead of it is first."""
        generator = np.random.default_rng(3)
        answers = (generator.permutation([1] * right + [0] * (200 - right)) for right in (100, 101, 102))
        found = standing([with_items(f"e{n}", {TASK: one}) for n, one in enumerate(answers)], EDITION)
        sure = uncertainty_of(found, replicate(found, seed=0, count=100))
        assert found.places.tolist() == [1, 2, 3]
        assert sure.shared_places.tolist() == [1, 1, 1]

    @settings(max_examples=20)
    @given(chances=st.lists(st.floats(0, 1), min_size=2, max_size=8), seed=st.integers(0, 9))
    def test_intervals_hold_what_they_are_about(self, chances, seed):
        """Places and totals lie within; a shared place is never worse than the place; chances add up to one."""
        found = standing(drawn(chances, count=40, seed=seed), EDITION)
        sure = uncertainty_of(found, replicate(found, seed=seed, count=60))
        assert (sure.place_low <= found.places).all()
        assert (found.places <= sure.place_high).all()
        assert (sure.total_low <= found.totals + 1e-6).all()
        assert (found.totals <= sure.total_high + 1e-6).all()
        assert sure.beats + sure.beats.T == pytest.approx(1)

    def test_a_place_is_shared_by_who_is_not_surely_behind(self):
        """By the stated rule: ahead in at least 97.5 % of the replicates."""
        ahead = np.array([[0, 0.974, 0.999], [0.01, 0, 0.975], [0.0, 0.02, 0]], dtype=np.float32)
        assert shared_places(ahead).tolist() == [1, 1, 3]

    def test_another_entrys_number_of_items_is_its_own(self):
        """An entry without items takes part by k of n."""
        alone = replace(entrant("alone"), scores={TASK: number(50.0)}, item_counts={TASK: 200})
        found = standing([*drawn([0.1, 0.9]), alone], EDITION)
        sure = uncertainty_of(found, replicate(found, seed=0, count=100))
        assert [one.name for one in found.entrants] == ["e1", "alone", "e0"]
        assert sure.shared_places.tolist() == [1, 2, 3]
