"""What would move an entry: every promise is kept when the ranking is made anew with the changed number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.ranking import pareto
from harness.ranking.rank_sum import standing
from harness.ranking.sensitivity import item_step, one_item, places_under, ties
from harness.ranking.what_if import GIGABYTE, least_change, what_if
from tests.ranking.make import EDITION, TASKS, entrant, number, with_items

LIMIT = EDITION.measurement.memory_limit_bytes
FIELDS = st.lists(
    st.tuples(st.lists(st.integers(0, 20).map(float), min_size=5, max_size=5), st.integers(1, 9).map(float)),
    min_size=2,
    max_size=12,
)


def field(drawn):
    return [entrant(f"e{n}", scores, throughput=speed) for n, (scores, speed) in enumerate(drawn)]


def place_with(entries, name, column, value):
    """The place of ``name`` when its number in ``column`` is ``value``, ranked from the start."""
    changed = [
        one
        if one.name != name
        else replace(one, throughput=number(value))
        if column == "throughput"
        else replace(one, scores={**one.scores, column: number(value)})
        for one in entries
    ]
    found = standing(changed, EDITION)
    return int(found.places[found.index(name)])


class TestWhatIf:
    @settings(max_examples=25)
    @given(drawn=FIELDS, who=st.integers(0, 11))
    def test_every_change_is_what_a_new_ranking_says(self, drawn, who):
        """Steps and least changes alike; the least one gains a place."""
        entries = field(drawn)
        found = standing(entries, EDITION)
        name = f"e{who % len(entries)}"
        said = what_if(found, entries, EDITION, name)
        assert {change.column for change in said.steps} == {*TASKS, "throughput"} - {"peak_memory"}
        for change in (*said.steps, *said.least):
            assert change.place_then == place_with(entries, name, change.column, change.value_then)
        assert all(change.place_then < change.place for change in said.least)

    @settings(max_examples=25)
    @given(drawn=FIELDS, who=st.integers(0, 11), column=st.integers(0, 6))
    def test_less_than_the_least_gains_nothing(self, drawn, who, column):
        """One step less and the place is as it was; where there is no least, the best there is gains none either."""
        entries = field(drawn)
        found = standing(entries, EDITION)
        entry = who % len(entries)
        least = least_change(found, entry, column)
        now, place = found.scores[entry, column], found.places[entry]
        if least is None:
            most = found.columns[column].scale if found.columns[column].is_task else 1e6
            assert found.place_if(entry, column, [most])[0] == place
        else:
            step = found.columns[column].scale * 1e-4 if found.columns[column].is_task else 1e-3
            less = least.value_then - step
            assert np.isnan(now) or less < now or found.place_if(entry, column, [less])[0] == place

    def test_a_gigabyte_decides_about_taking_part(self):
        """Above the limit nothing else matters."""
        entries = [entrant("large", [90], peak=LIMIT + GIGABYTE / 2), entrant("small", [10], peak=LIMIT / 2)]
        said = what_if(standing(entries, EDITION), entries, EDITION, "large")
        (change,) = said.steps
        assert (said.place, change.place, change.place_then, change.points_then) == (None, None, 1, 10)
        assert "peak memory" in said.barred

    def test_a_team_is_its_ranked_entry(self):
        """Whatever its case."""
        entries = [entrant("a", [1], team="Team A"), entrant("b", [2], team="Team A"), entrant("c", [9])]
        assert what_if(standing(entries, EDITION), entries, EDITION, "team a").entry == "b"

    def test_an_unknown_name(self):
        """What there is, is said."""
        with pytest.raises(UsageError, match="there are the entries a"):
            what_if(standing([entrant("a", [1])], EDITION), [entrant("a", [1])], EDITION, "z")


class TestOneItem:
    def test_one_answer_that_decides(self):
        """36 of 40 beside 35 of 40: one more for the second and they share the place."""
        right = [[1] * count + [0] * (40 - count) for count in (36, 35)]
        found = standing([with_items(name, {"gsm8k": row}) for name, row in zip("ab", right, strict=True)], EDITION)
        moved = {(one.entry, one.change): (one.place, one.place_then) for one in one_item(found, 15)}
        assert moved == {("b", 1): (2, 1)}
        assert item_step(found, 0, found.columns.index(next(c for c in found.columns if c.name == "gsm8k"))) == 2.5

    def test_far_apart_hangs_on_nothing(self):
        """No single answer moves anybody."""
        found = standing([with_items("a", {"gsm8k": [1] * 40}), with_items("b", {"gsm8k": [0] * 40})], EDITION)
        assert one_item(found, 15) == ()


class TestTies:
    def test_says_whom_another_rule_would_move(self):
        """Sharing the best place would lift who tied for it."""
        entries = [entrant("a", [3, 1]), entrant("b", [3, 2]), entrant("c", [1, 3])]
        found = standing(entries, EDITION)
        assert places_under(found) == found.places.tolist() == [1, 2, 3]
        moved = [(one.entry, one.rule, one.place, one.place_then) for one in ties(found, 3)]
        assert moved == [("a", "best", 3, 2), ("c", "worst", 2, 1)]

    def test_without_ties_no_rule_matters(self):
        """Nobody moves."""
        assert ties(standing([entrant("a", [3, 1]), entrant("b", [2, 2])], EDITION), 15) == ()


class TestFront:
    @given(rows=st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=15))
    def test_nobody_on_it_is_beaten_and_everybody_off_it_is(self, rows):
        """Beaten: at least as good in everything, better in one."""
        values = np.array(rows, dtype=float)
        for one, is_on in zip(values, pareto.front(values), strict=True):
            assert is_on != any((other >= one).all() and (other > one).any() for other in values)

    def test_an_entry_with_a_number_missing_is_not_on_it(self):
        """And pushes nobody off."""
        assert pareto.front(np.array([[1.0, np.nan, 9.0], [0.5, 1.0, 1.0]])).tolist() == [False, True]

    def test_less_memory_is_better(self):
        """Score, memory, throughput; without any throughput the two others decide."""
        entries = [entrant("a", [50] * 5 + [0.5], peak=5), entrant("b", [50] * 5 + [0.5], peak=4)]
        found = standing(entries, EDITION)
        on = dict(zip((one.name for one in found.entrants), pareto.front(pareto.criteria(found)), strict=True))
        assert on == {"a": False, "b": True}
