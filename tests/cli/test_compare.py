"""``harness compare``: two sides on one screen and as one document."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from harness.cli import compare
from harness.errors import UsageError
from harness.pico import catalogue
from tests.ranking.make import file_bundle


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    root = tmp_path_factory.mktemp("compared")
    return [
        file_bundle(root, team, seed=seed, share=share, weights=root / f"weights-{team}")
        for seed, (team, share) in enumerate({"alpha": 0.7, "gamma": 0.3}.items())
    ]


@pytest.fixture
def harness(monkeypatch, tmp_path):
    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path / "workspace"))
    app = typer.Typer()
    compare.register(app)
    return lambda *words: CliRunner().invoke(app, list(map(str, words)))


class TestCompare:
    def test_two_bundles(self, harness, entries):
        """Quantities, tests for each model and for the mean, what could not be compared."""
        shown = harness(*entries)
        assert shown.exit_code == 0, shown.exception
        for word in (
            "alpha",
            "gamma",
            "parameters",
            "decode, tokens/s",
            "McNemar, exact",
            "mean over the models",
            "bits/byte",
        ):
            assert word in shown.stdout
        assert "shapes are not compared; --weights" in shown.stdout

    def test_two_checkpoints(self, harness):
        """Shapes of both."""
        shown = harness(catalogue.path("pico-llama"), catalogue.path("pico-phi")).stdout
        assert "intermediate (axis)" in shown
        assert "kv_group (axis)" in shown

    def test_json_is_the_comparison(self, harness, entries):
        """One document."""
        found = json.loads(harness(*entries, "--model", "phi", "--json").stdout)
        assert [one["model"] for one in found["models"]] == ["phi"]
        assert found["first"]["team"] == "alpha"

    def test_a_folder_that_is_neither(self, harness, tmp_path, entries):
        """A usage error."""
        assert isinstance(harness(tmp_path, entries[0]).exception, UsageError)
