"""The pages on ranking and organising: what they show works, and their numbers are the code's."""

from __future__ import annotations

import re
from pathlib import Path

from harness.ranking.columns import CHANCE
from harness.ranking.figures import applied, read_figures
from harness.ranking.uncertainty import ERROR
from tests.ranking.make import EDITION

DOCS = Path(__file__).parents[2] / "docs"


def test_the_figures_of_the_page_are_figures(tmp_path):
    """An organiser can begin with them."""
    (text,) = re.findall(r"```toml\n(.*?)```", (DOCS / "organise.md").read_text(), re.DOTALL)
    (tmp_path / "figures.toml").write_text(text)
    nine, ten = applied((), read_figures(tmp_path / "figures.toml"), "figures.toml", EDITION)
    assert (nine.throughput.value, nine.scores["mmlu"].value) == (23.4, 56.86)
    assert round(ten.scores["gsm8k"].value, 2) == 60.33
    assert "reproduced" in ten.barred


def test_the_page_states_the_levels_of_chance():
    """And the share of replicates that makes an entry surely better."""
    page = (DOCS / "ranking.md").read_text()
    assert f"{100 * CHANCE['official']['bbh']:.1f} % on BBH" in page
    assert f"{100 * CHANCE['demo']['bbh']:.0f} % on the demo's" in page
    assert f"{100 * (1 - ERROR / 2):.1f} % of the replicates" in page
