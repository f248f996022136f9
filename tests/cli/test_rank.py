"""``harness rank``: the leaderboard on one screen and as one document."""

from __future__ import annotations

import json
from importlib import resources

import pytest
import typer
from typer.testing import CliRunner

from harness.cli import rank
from harness.errors import UsageError
from tests.ranking.make import file_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("ranked")
    for seed, (team, share) in enumerate({"alpha": 0.7, "gamma": 0.3}.items()):
        file_bundle(root / "entries" / "demo", team, seed=seed, share=share, weights=root / team)
    return root / "entries"


@pytest.fixture
def harness():
    app = typer.Typer()
    rank.register(app)

    def run(*words):
        return CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "300"})

    return run


class TestRank:
    def test_shows_places_points_and_what_to_be_wary_of(self, harness, folder):
        """For people."""
        shown = harness(folder, "--what-if", "gamma")
        assert shown.exit_code == 0, shown.exception
        for word in ("2 ranked, 0 not", "place", "95 %", "shared", "CommonsenseQA", "alpha", "not eligible", "what if"):
            assert word in shown.stdout
        assert shown.stdout.index("2026-11-22-alpha") < shown.stdout.index("2026-11-22-gamma")

    def test_json_is_the_leaderboard(self, harness, folder):
        """One document; the same seed gives the same one."""
        first, again = (harness(folder, "--json", "--seed", 3).stdout for _ in range(2))
        assert first == again
        board = json.loads(first)
        assert [row["team"] for row in board["rows"]] == ["alpha", "gamma"]
        assert board["seed"] == 3

    @pytest.mark.parametrize("track", ["compression", "scratch"])
    def test_the_competition_of_2024(self, harness, track):
        """The published figures alone are a field; the barred and the doubts are shown."""
        figures = resources.files("harness.ranking.published") / f"neurips-2024-{track}.toml"
        shown = harness(figures).stdout
        assert f"track {track}" in shown
        assert shown.index("Tinytron") < shown.index("NICS-EffAlg")
        assert "~" in shown

    def test_figures_disqualify(self, harness, folder, tmp_path):
        """The organiser has the last word; the reason is shown."""
        figures = tmp_path / "figures.toml"
        figures.write_text('[[entry]]\nname = "2026-11-22-alpha-baseline-l1"\ndisqualified = "not reproduced"\n')
        shown = harness(folder, "--figures", figures).stdout
        assert "1 ranked, 1 not" in shown
        assert "disqualified: not reproduced" in shown

    def test_what_a_stranger_wrote_moves_no_cursor(self, harness, tmp_path):
        """Names are spelled out."""
        figures = tmp_path / "figures.toml"
        figures.write_text('track = "scratch"\n[[entry]]\nname = "\\u001b[2Jevil"\nscores = { gsm8k = 1 }\n')
        shown = harness(figures).stdout
        assert "\x1b" not in shown
        assert "\\x1b[2Jevil" in shown

    def test_the_page_is_of_exactly_this_ranking(self, harness, folder, tmp_path):
        """Figures, seed and who is barred: the page is made from what was printed, not ranked again."""
        figures = tmp_path / "figures.toml"
        figures.write_text('[[entry]]\nname = "2026-11-22-alpha-baseline-l1"\ndisqualified = "not reproduced"\n')
        page = tmp_path / "pages" / "board.html"
        shown = harness(folder, "--figures", figures, "--html", page)
        assert shown.exit_code == 0, shown.exception
        assert str(page) in shown.stdout
        assert "not reproduced" in page.read_text()
        assert "not reproduced" not in (harness(folder, "--html", page) and page.read_text())

    def test_the_page_leaves_one_json_document(self, harness, tmp_path):
        """Also with --json, and also of figures alone."""
        page = tmp_path / "board.html"
        figures = resources.files("harness.ranking.published") / "neurips-2024-scratch.toml"
        board = json.loads(harness(figures, "--json", "--html", page).stdout)
        assert all(row["team"] in page.read_text() for row in board["rows"])

    def test_a_folder_is_no_page(self, harness, folder, tmp_path):
        """It says what is expected."""
        error = harness(folder, "--html", tmp_path).exception
        assert isinstance(error, UsageError)
        assert "expected a file" in str(error)

    @pytest.mark.parametrize(
        ("words", "said"), [(("--what-if", "omega"), "--what-if omega"), (("--track", "moe"), "--track moe")]
    )
    def test_what_is_not_there_is_said(self, harness, folder, words, said):
        """As a usage error."""
        error = harness(folder, *words).exception
        assert isinstance(error, UsageError)
        assert said in str(error)
