"""The official rank-sum: who is ranked, by which points, on which place."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.ranking.columns import THROUGHPUT
from harness.ranking.rank_sum import standing
from tests.ranking.make import EDITION, TASKS, entrant

LIMIT = EDITION.measurement.memory_limit_bytes
SHARE = st.integers(0, 12).map(lambda step: step / 12)
ENTRIES = st.lists(
    st.tuples(st.lists(SHARE, min_size=6, max_size=6), st.integers(1, 9), st.sampled_from("abcde")),
    min_size=1,
    max_size=9,
)


def field(drawn):
    return [
        entrant(f"e{number}", scaled(shares), throughput=float(speed), team=team)
        for number, (shares, speed, team) in enumerate(drawn)
    ]


def scaled(shares):
    return [share * EDITION.tasks[task].scale for share, task in zip(shares, TASKS, strict=True)]


def names(found):
    return [one.name for one in found.entrants]


def reason(found, name):
    return next(one.barred for one in found.barred if one.name == name)


class TestPoints:
    def test_throughput_counts_twice(self):
        """20 for the fastest, beside 10 for the best of a task."""
        found = standing([entrant("slow", [50] * 5 + [0.5], throughput=1), entrant("fast", throughput=2)], EDITION)
        assert dict(zip(names(found), found.totals, strict=True)) == {"slow": 60 + 18, "fast": 20}

    def test_the_most_there_is(self):
        """Six public tasks and the doubled throughput: 80; with two hold-outs 100, as the rules announce."""
        hold_outs = {
            "mmlu": entrant("x", [1]).scores["commonsense_qa"],
            "ceval": entrant("x", [1]).scores["commonsense_qa"],
        }
        best = entrant("best", [50] * 5 + [0.5], throughput=1)
        assert standing([best], EDITION).totals[0] == 80
        assert standing([replace(best, scores={**best.scores, **hold_outs})], EDITION).totals[0] == 100

    def test_a_hold_out_ranks_only_what_all_were_scored_on(self):
        """Otherwise who was not asked would lose points for it; it is shown all the same, with the reason."""
        other = entrant("other", [40] * 5 + [0.4])
        asked = entrant("asked", [30] * 5 + [0.3])
        asked = replace(asked, scores={**asked.scores, "mmlu": asked.scores["bbh"]})
        found = standing([asked, other], EDITION)
        column = next(column for column in found.columns if column.name == "mmlu")
        assert (column.weight, names(found)) == (0, ["other", "asked"])
        assert "1 of 2 entries" in column.why_not

    def test_throughput_that_nobody_has_is_not_ranked(self):
        """And the column says so."""
        column = next(column for column in standing([entrant("a", [1])], EDITION).columns if column.name == THROUGHPUT)
        assert column.weight == 0
        assert "decode tokens/s" in column.why_not

    def test_equal_totals_share_the_place(self):
        """Two first, then a third; in the order of their names."""
        found = standing([entrant("b", [2, 1]), entrant("a", [1, 2]), entrant("c", [0, 0])], EDITION)
        assert names(found) == ["a", "b", "c"]
        assert found.places.tolist() == [1, 1, 3]


class TestMemory:
    def test_at_the_limit_is_over_it(self):
        """Peak memory has to stay below; what is barred takes nobody's points."""
        entries = [entrant("large", [90], peak=LIMIT), entrant("small", [10], peak=LIMIT - 1), entrant("unknown", [5])]
        found = standing(entries, EDITION)
        assert names(found) == ["small", "unknown"]
        assert found.points[0, 0] == 10
        assert f"allowed below {LIMIT}" in reason(found, "large")


class TestTeams:
    def test_the_best_entry_of_a_team_is_ranked(self):
        """Its other one is named with the reason, and leaves its points to the next."""
        entries = [
            entrant("t-one", [50, 50], team="T"),
            entrant("t-two", [40, 60], team=" t "),
            entrant("t-three", [60, 61], team="T"),
            entrant("u", [30, 30]),
        ]
        found = standing(entries, EDITION)
        assert names(found) == ["t-three", "u"]
        assert found.points[:, 0].tolist() == [10, 9]
        assert "t-three has the most points" in reason(found, "t-one")

    def test_a_fourth_entry_does_not_count(self):
        """The first three by date do, even where the fourth is better."""
        days = [dt.date(2024, 11, day) for day in (4, 3, 2, 1)]
        entries = [entrant(f"e{day.day}", [90 - day.day], team="T", created=day) for day in days]
        found = standing([replace(entries[0], scores=entrant("x", [99]).scores), *entries[1:]], EDITION)
        assert names(found) == ["e1"]
        assert "a team may have 3 entries" in reason(found, "e4")

    def test_a_barred_entry_counts_towards_the_three(self):
        """Trying a fourth time is not bought by breaking a rule."""
        entries = [entrant(f"e{number}", [number], team="T", peak=LIMIT if number == 0 else 1) for number in range(4)]
        assert names(standing(entries, EDITION)) == ["e2"]

    def test_an_equal_entry_of_a_team(self):
        """The first by name stays."""
        found = standing([entrant("b", [5], team="T"), entrant("a", [5], team="T")], EDITION)
        assert names(found) == ["a"]


class TestStanding:
    @given(drawn=ENTRIES, data=st.data())
    def test_order_of_entries_makes_no_difference(self, drawn, data):
        """Whoever lists the folder."""
        entries = field(drawn)
        first, second = standing(entries, EDITION), standing(data.draw(st.permutations(entries)), EDITION)
        assert names(first) == names(second)
        assert first.points.tolist() == second.points.tolist()
        assert [one.barred for one in first.barred] == [one.barred for one in second.barred]

    @given(drawn=ENTRIES)
    def test_everybody_is_ranked_once_or_barred_with_a_reason(self, drawn):
        """One entry for each team, the totals falling."""
        found = standing(field(drawn), EDITION)
        assert sorted([*names(found), *(one.name for one in found.barred)]) == sorted(
            f"e{n}" for n in range(len(drawn))
        )
        assert all(one.barred for one in found.barred)
        teams = [one.team_key for one in found.entrants]
        assert sorted(teams) == sorted({team for *_, team in drawn})
        assert all(before >= after - 1e-9 for before, after in zip(found.totals, found.totals[1:], strict=False))

    @given(drawn=ENTRIES)
    def test_points_come_from_places_alone(self, drawn):
        """Every total is what the entry's places in the columns give, by a plain count."""
        found = standing(field(drawn), EDITION)
        for number in range(len(found.entrants)):
            total = 0.0
            for place, column in enumerate(found.columns):
                scores = found.scores[:, place].round(9).tolist()
                better = sum(other > scores[number] for other in scores)
                taken = range(better, better + scores.count(scores[number]))
                total += column.weight * sum(max(0, 10 - position) for position in taken) / len(taken)
            assert found.totals[number] == pytest.approx(total)

    def test_nobody(self):
        """A ranking of none is empty."""
        found = standing([], EDITION)
        assert (found.entrants, found.barred, found.totals.tolist()) == ((), (), [])

    @given(drawn=ENTRIES, column=st.integers(0, 6), value=SHARE)
    def test_what_would_be_is_what_is_then(self, drawn, column, value):
        """Totals with one number changed are those of a ranking that is made with it."""
        entries = field([(shares, speed, f"{number}") for number, (shares, speed, _) in enumerate(drawn)])
        found = standing(entries, EDITION)
        rule = found.columns[column]
        changed = value * rule.scale if rule.is_task else 1 + value
        rows = found.scores[None, :, column].copy()
        rows[0, 0] = changed
        moved = found.entrants[0]
        shares = [(changed if task == rule.name else moved.scores[task].value) for task in TASKS]
        speed = moved.throughput.value if rule.is_task else changed
        again = standing([*found.entrants[1:], entrant(moved.name, shares, throughput=speed)], EDITION)
        totals = dict(zip(names(again), again.totals, strict=True))
        assert found.totals_if(column, rows)[0].tolist() == pytest.approx([totals[name] for name in names(found)])
