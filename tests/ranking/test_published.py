"""The competition of 2024, from what its teams published: the announced order."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.ranking.entries import Choice, read_field
from harness.ranking.figures import read_figures
from harness.ranking.points import places
from harness.ranking.rank_sum import standing
from harness.ranking.sensitivity import places_under
from harness.validation.foreign.columns import columns
from harness.validation.foreign.granularity import fits

FILES = {
    track: Path(str(resources.files("harness.ranking.published") / f"neurips-2024-{track}.toml"))
    for track in ("compression", "scratch")
}


@pytest.fixture(scope="module", params=FILES)
def published(request):
    field = read_field(FILES[request.param], Choice())
    return read_figures(FILES[request.param]), field, standing(field.entrants, field.edition)


class TestPublishedOrder:
    @pytest.mark.parametrize("rule", ["mean", "best", "worst"])
    def test_is_the_announced_one(self, published, rule):
        """In both tracks, by every rule for ties."""
        figures, _, found = published
        announced = {one.name: one.published_place for one in figures.entry}
        ranked = dict(zip((one.name for one in found.entrants), places_under(found, rule), strict=True))
        assert ranked == announced

    def test_every_number_says_where_it_was_read(self, published):
        """File and field, of a mean all of them; and the file names the page."""
        figures, field, _ = published
        for one, stated in zip(field.entrants, figures.entry, strict=True):
            assert stated.source
            for number in one.scores.values():
                assert len(number.sources) == max(1, len(stated.models))
                assert all(source.field.startswith("entry.") for source in number.sources)

    def test_scores_are_whole_numbers_of_items(self, published):
        """What was copied fits the task that it stands under, as the winner's own column heads do not."""
        figures, _, _ = published
        for one in figures.entry:
            models = 3 if figures.track == "compression" and not one.models else 1
            for scores in one.models.values() or [one.scores]:
                for task in ("commonsense_qa", "gsm8k", "humaneval", "chid"):
                    counts = [count * models for count in columns()[task].item_counts]
                    assert fits(scores[task] / 100, 0.5e-4, counts), (one.name, task)

    def test_hold_outs_of_one_team_are_shown_and_not_ranked(self, published):
        """MMLU and C-Eval are known of the winner only."""
        _, _, found = published
        weights = {column.name: column.weight for column in found.columns}
        assert weights["mmlu"] == weights["ceval"] == weights["throughput"] == 0

    @given(order=st.permutations(range(3)))
    def test_the_winner_wins_whatever_the_phone_says(self, published, order):
        """No order of throughputs, which were never published, takes the first place from Tinytron."""
        _, field, found = published
        speeds = np.array([float(place) for place in order[: len(found.entrants)]])
        weight = field.edition.ranking.throughput_weight
        prizes = np.array(field.edition.ranking.points)[places(speeds[None])[0] - 1]
        totals = found.totals + weight * prizes
        assert found.entrants[0].team == "Tinytron"
        assert totals[0] == totals.max()
