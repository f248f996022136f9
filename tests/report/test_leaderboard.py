"""The page of a ranking: sortable, linked, honest about what cannot be told apart."""

from __future__ import annotations

from importlib import resources
from itertools import combinations

import pytest

from harness.ranking.building import Asked, build
from harness.ranking.entries import Choice, read_field
from harness.report.leaderboard import leaderboard_page
from tests.ranking.make import file_bundle
from tests.report.test_page import EVIL, Collected

CHOICE = Choice(track=None, edition=None, models=(), weights=None, with_broken=False)
TEAMS = {"alpha": 0.7, "beta": 0.68, "gamma": 0.3, "delta": 0.25}


def board_of(path):
    field = read_field(path, CHOICE, None)
    return build(field.entrants, field.edition, Asked(track=field.track, models=field.models, seed=0, what_if=()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four entries, of which the first has its own page."""
    root = tmp_path_factory.mktemp("ranked")
    for seed, (team, share) in enumerate(TEAMS.items()):
        file_bundle(root / "entries" / "demo", team, seed=seed, share=share, weights=root / team)
    return root / "entries"


@pytest.fixture(scope="module")
def board(folder):
    return board_of(folder)


@pytest.fixture(scope="module")
def text(board, folder):
    return leaderboard_page(board, folder, folder)


class TestPage:
    def test_every_entry_with_every_column(self, board, text):
        """Ranked or not, nobody is left out."""
        for word in (*TEAMS, *(column.heading for column in board.columns), "not eligible"):
            assert word in text

    def test_same_board_same_bytes(self, board, folder, text):
        """No date, no random id."""
        assert leaderboard_page(board, folder, folder) == text

    def test_needs_nothing_beside_it(self, text):
        """One script, ids apart, small."""
        page = Collected(text)
        assert page.tags.count("script") == 1
        assert len(page.ids) == len(set(page.ids))
        assert len(text.encode()) < 1_000_000

    def test_links_to_pages_that_are_there(self, board, folder):
        """Relative to where the page stands; no link where there is no page."""
        bundle = next((folder / "demo").iterdir())
        (bundle / "report.html").write_text("x")
        try:
            near, far = (Collected(leaderboard_page(board, folder, at)).links for at in (folder, folder / "demo"))
        finally:
            (bundle / "report.html").unlink()
        assert [link for link in near if not link.startswith("#")] == [f"./demo/{bundle.name}/report.html"]
        assert [link for link in far if not link.startswith("#")] == [f"./{bundle.name}/report.html"]

    def test_shared_places_are_marked(self, board, text):
        """An equals sign where entries cannot be told apart."""
        shared = [row.shared_place for row in board.rows]
        assert text.count("=</b>") == sum(shared.count(place) > 1 for place in shared)

    def test_hostile_names_stay_text(self, board, folder, open_page):
        """A team is called what it likes; nothing of it runs."""
        rows = tuple(row.model_copy(update={"team": EVIL, "plugin": EVIL, "entry": EVIL}) for row in board.rows)
        hostile = leaderboard_page(board.model_copy(update={"rows": rows, "notice": EVIL}), folder, folder)
        assert Collected(hostile).tags.count("script") == 1
        opened = open_page(hostile)
        assert opened.page.evaluate("window.evil") is None
        assert opened.complaints == []


class TestInTheBrowser:
    def teams(self, opened):
        return opened.page.eval_on_selector_all(
            "table[data-sortable] tbody th", "cells => cells.map(c => c.dataset.value)"
        )

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [1200, 390])
    def test_opens_without_a_complaint(self, text, open_page, scheme, width):
        """No error, no request, no sideways scrolling, and charts that have an extent."""
        opened = open_page(text, scheme=scheme, width=width)
        assert opened.complaints == []
        assert len(opened.requests) == 1
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        sizes = opened.page.evaluate(
            "[...document.querySelectorAll('figure > svg')].map(s => s.getBoundingClientRect().height)"
        )
        assert len(sizes) == 2
        assert min(sizes) > 60

    def test_names_do_not_lie_on_each_other(self, text, open_page):
        """Beside the points of the front, where two entries are nearly alike."""
        boxes = open_page(text).page.evaluate(
            "names => [...document.querySelectorAll('figure > svg text')]"
            ".filter(t => names.includes(t.textContent.trim()))"
            ".map(t => t.getBoundingClientRect()).map(b => [b.left, b.right, b.top, b.bottom])",
            list(TEAMS),
        )
        assert len(boxes) == len(TEAMS)
        for (left, right, top, bottom), (other_left, other_right, other_top, other_bottom) in combinations(boxes, 2):
            assert left >= other_right or other_left >= right or top >= other_bottom or other_top >= bottom

    def test_sorts_by_click_and_by_key(self, board, text, open_page):
        """First as the column is best read, then the other way round; the state is said to a screen reader."""
        opened = open_page(text)
        places = self.teams(opened)
        assert places == [row.team for row in board.rows]
        opened.page.click("th button:text-is('team')")
        assert self.teams(opened) == sorted(TEAMS)
        assert opened.page.get_attribute("th:has(button:text-is('team'))", "aria-sort") == "ascending"
        opened.page.focus("th button:text-is('team')")
        opened.page.keyboard.press("Enter")
        assert self.teams(opened) == sorted(TEAMS, reverse=True)
        opened.page.click("th button:text-is('place')")
        assert self.teams(opened) == places

    def test_numbers_sort_as_numbers(self, board, text, open_page):
        """Not as text, and from the best."""
        opened = open_page(text)
        opened.page.click("th button:text-is('points')")
        order = self.teams(opened)
        totals = {row.team: row.total for row in board.rows}
        assert [totals[team] for team in order] == sorted(totals.values(), reverse=True)


class TestPublished:
    @pytest.mark.parametrize("track", ["compression", "scratch"])
    def test_the_competition_of_2024_has_a_page(self, track, tmp_path):
        """Entries without items, without memory, barred: each is shown for what is known."""
        board = board_of(resources.files("harness.ranking.published") / f"neurips-2024-{track}.toml")
        text = leaderboard_page(board, tmp_path, tmp_path)
        for row in (*board.rows, *board.barred):
            assert row.team in text
