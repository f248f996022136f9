"""Which recipes are quantisation, and that they never start under the competition's rules."""

from __future__ import annotations

from pathlib import Path

import harness_edge_llm
import pytest
from harness_edge_llm.options import EdgeOptions

from harness.cli.app import run
from harness.pico import catalogue as pico
from harness.run.recipe import read_recipe

RECIPES = Path(harness_edge_llm.__file__).parent / "recipes"


def practices(name):
    options = EdgeOptions.model_validate(read_recipe(RECIPES / name).table)
    return {word for step in options.steps for word in step.practices()}


class TestRecipes:
    @pytest.mark.parametrize("name", ["demo.toml", "default.toml"])
    def test_legal(self, name):
        """Full precision from the first step to the last."""
        assert practices(name) == set()

    @pytest.mark.parametrize("name", ["published.toml", "open-demo.toml"])
    def test_published_is_quantisation(self, name):
        """And says so."""
        assert practices(name) == {"quantisation"}

    def test_one_layer_of_few_bits_is_enough(self):
        """Whatever the rest has."""
        step = {"method": "unified", "bits": 16, "low_bit_layers": {2: 4}}
        (parsed,) = EdgeOptions.model_validate({"steps": [step]}).steps
        assert parsed.practices() == ("quantisation",)


class TestRefusal:
    @pytest.mark.parametrize(("track", "name"), [("demo", "open-demo.toml"), ("compression", "published.toml")])
    def test_exit_4_before_it_runs(self, tmp_path, capsys, monkeypatch, track, name):
        """In the demo and in the competition: with the rule and the legal variant; no step has left anything."""
        monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path / "work"))
        recipe = str(RECIPES / name)
        arguments = ["submit", "--plugin", "edge-llm", "--recipe", recipe, "--out", str(tmp_path / "entries")]
        base = ["--base", f"llama={pico.path('pico-llama')}"] if track == "compression" else []
        code = run([*arguments, "--team", "test", "--track", track, "--models", "llama", *base])
        shown = capsys.readouterr()
        assert code == 4, shown
        said = " ".join((shown.out + shown.err).split())
        assert "edition.forbidden_method" in said
        assert "layerwise" in said
        assert not list(tmp_path.rglob("*.safetensors"))
