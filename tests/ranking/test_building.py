"""The leaderboard as a document: whole, traceable, the same for the same entries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import UsageError
from harness.ranking.building import Asked, build
from harness.ranking.entries import Choice, read_field
from harness.ranking.leaderboard import Leaderboard
from tests.ranking.make import EDITION, entrant, number, with_items


@pytest.fixture(scope="module")
def field(filed):
    return read_field(filed, Choice())


@pytest.fixture(scope="module")
def board(field):
    return build(
        field.entrants, field.edition, Asked(track="demo", models=field.models, replicates=200, what_if=("beta",))
    )


def asked(**more):
    return Asked(track="compression", models=("llama",), replicates=50, **more)


class TestBuild:
    def test_survives_being_written_and_read(self, board, tmp_path):
        """What the page is made from is a file like any other of the record."""
        board.write(tmp_path / "leaderboard.json")
        assert Leaderboard.read(tmp_path / "leaderboard.json") == board

    def test_the_order_of_entries_and_the_hour_make_no_difference(self, field, board):
        """The same entries and seed give the same document."""
        again = build(
            field.entrants[::-1],
            field.edition,
            Asked(track="demo", models=field.models, replicates=200, what_if=("beta",)),
        )
        assert again == board

    def test_every_number_of_a_row_has_its_source(self, board):
        """And the row the digest of the file that they stand in."""
        for row in board.rows:
            assert len(row.digest) == 64
            for found in (row.memory, row.peak_memory, row.parameters, *(cell.number for cell in row.cells)):
                assert found.sources
                assert all(source.entry == row.entry for source in found.sources)

    def test_totals_are_the_sum_of_the_cells(self, board):
        """And the cells' points follow their places."""
        for row in board.rows:
            assert row.total == pytest.approx(sum(cell.points for cell in row.cells))
        for cells in zip(*(row.cells for row in board.rows), strict=True):
            ordered = sorted(cells, key=lambda cell: cell.place)
            assert [cell.points for cell in ordered] == sorted((cell.points for cell in cells), reverse=True)

    def test_scores_lie_in_their_intervals_and_are_paired(self, board):
        """In the column's own scale."""
        for row in board.rows:
            for cell in row.cells[:-1]:
                assert cell.low <= cell.number.value <= cell.high
                assert cell.items == "paired"
            assert row.cells[-1].low is None

    def test_neighbours_are_tested_on_every_task(self, board):
        """Gamma is told apart from the others, which share the first place."""
        assert [len(pair.tasks) for pair in board.pairs] == [6, 6]
        assert [row.shared_place for row in board.rows] == [1, 1, 3]
        assert board.rows[2].team == "gamma"
        assert board.pairs[1].first_beats > 0.975
        assert board.beats[0][2] > 0.975

    def test_says_what_was_asked(self, board):
        """What would move beta."""
        (found,) = board.what_if
        assert found.team == "beta"
        assert {change.column for change in found.steps} >= {"gsm8k", "throughput"}

    def test_asked_about_nobody_that_is_there(self, field):
        """An error with the names."""
        with pytest.raises(UsageError, match="--what-if omega"):
            build(field.entrants, field.edition, Asked(track="demo", models=(), replicates=10, what_if=("omega",)))

    def test_guessing_is_flagged(self):
        """Where the interval reaches down to it: one of five on CommonsenseQA, nothing right on GSM8K."""
        poor = with_items("poor", {"commonsense_qa": [1] * 9 + [0] * 31, "gsm8k": [0] * 40, "truthful_qa": [0] * 40})
        good = with_items(
            "good", {"commonsense_qa": [1] * 30 + [0] * 10, "gsm8k": [1] + [0] * 39, "truthful_qa": [1] * 40}
        )
        found = build([poor, good], EDITION, asked())
        flags = {row.entry: {cell.column for cell in row.cells if cell.at_chance} for row in found.rows}
        assert flags == {"poor": {"commonsense_qa", "gsm8k"}, "good": set()}
        assert any("guessing reaches (20): poor" in warning for warning in found.warnings)

    def test_the_barred_are_listed_with_the_reason(self):
        """Nobody disappears."""
        found = build([entrant("a", [1], peak=2 * 10**10), entrant("b", [1])], EDITION, asked())
        assert [(one.entry, one.reason[:11]) for one in found.barred] == [("a", "peak memory")]
        assert [row.entry for row in found.rows] == ["b"]

    def test_warns_of_what_does_not_compare(self):
        """Two machines, no memory, no number, no common items."""
        first = replace(entrant("a", [50], throughput=3), protocol="one machine", item_counts={"commonsense_qa": 40})
        second = replace(entrant("b", [40, 10], throughput=4), protocol="another")
        said = "\n".join(build([first, second], EDITION, asked()).warnings)
        assert "measured in 2 ways" in said
        assert "nothing was held against the limit, of a, b" in said
        assert "BIG-Bench-Hard: no points, because no number, for a" in said
        assert "compared without common items" in said
        assert "taken as exact" in said

    def test_only_the_first_are_shown_and_all_are_there(self):
        """Fifteen by the rules; the rows go on."""
        found = build([entrant(f"e{n:02}", [n]) for n in range(20)], EDITION, asked())
        assert (found.shown, len(found.rows), len(found.pairs), len(found.beats)) == (15, 20, 15, 15)
        assert found.rows[19].total == 0

    def test_nobody(self):
        """An empty leaderboard is one."""
        found = build([], EDITION, asked())
        assert (found.rows, found.pairs, found.barred) == ((), (), ())

    def test_an_entry_on_the_front_is_marked(self):
        """Nobody has more score, less memory and more throughput."""
        entries = [
            entrant("all", [50] * 5 + [0.5], throughput=9, peak=5),
            entrant("small", [40] * 5 + [0.4], throughput=8, peak=4),
            entrant("none", [30] * 5 + [0.3], throughput=7, peak=6),
        ]
        found = build(
            [*entries, replace(entries[0], name="part", team="part", scores={"bbh": number(60)})], EDITION, asked()
        )
        assert {row.entry: row.on_front for row in found.rows} == {
            "all": True,
            "small": True,
            "none": False,
            "part": False,
        }
