"""``harness report``: the page where it is asked for, and what is said about it."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from harness.cli import report, show
from tests.validation.make import make


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    return make(tmp_path_factory.mktemp("entry"))


@pytest.fixture
def harness(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    report.register(app)
    show.register(app)

    def run(*words):
        return CliRunner().invoke(app, ["report", *map(str, words)])

    return run


class TestReport:
    def test_writes_into_the_bundle(self, harness, entry):
        """As report.html, and says where."""
        shown = harness(entry.path, "--weights", entry.weights)
        assert shown.exit_code == 0, shown.exception
        assert (entry.path / "report.html").read_text().startswith("<!DOCTYPE html>")
        assert "report.html" in shown.stdout

    def test_writes_where_it_is_told(self, harness, entry, tmp_path):
        """One JSON document for scripts."""
        shown = harness(entry.path, "--out", tmp_path / "deep" / "entry.html", "--json")
        assert shown.exit_code == 0, shown.exception
        told = json.loads(shown.stdout)
        assert told["kind"] == "report"
        assert told["size_bytes"] == (tmp_path / "deep" / "entry.html").stat().st_size


class TestLeaderboard:
    def test_of_a_folder(self, harness, entry, tmp_path):
        """A folder that is no bundle becomes a leaderboard."""
        folder = entry.path.parent
        shown = harness(folder, "--out", tmp_path / "board.html", "--json")
        assert shown.exit_code == 0, shown.exception
        assert json.loads(shown.stdout)["kind"] == "leaderboard"
        assert "team-nine" in (tmp_path / "board.html").read_text()

    def test_stands_in_the_folder_and_is_no_entry(self, harness, entry):
        """Written again beside the entries it is the same: a page is nobody's submission."""
        folder = entry.path.parent
        pages = [harness(folder).exit_code or (folder / "leaderboard.html").read_text() for _ in range(2)]
        assert pages[0] == pages[1]
        assert "Leaderboard" in pages[0]
