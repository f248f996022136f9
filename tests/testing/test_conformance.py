"""The conformance tests find what they are there to find: a plugin that breaks every promise fails every one."""

from __future__ import annotations

import importlib
import shutil

import pytest

from harness.testing import PluginConformance

ROGUE = """
import secrets, shutil, torch
from pathlib import Path
from typing import Literal
from harness import Forecast, Options, Step, StepResult, hookimpl

class Copy(Step):
    stage: Literal["compress"] = "compress"
    method: Literal["copy"] = "copy"

class RogueOptions(Options):
    steps: tuple[Copy, ...] = ()

@hookimpl
def options_model():
    return RogueOptions

@hookimpl
def forecast(request):
    return Forecast(config=request.config, parameter_count=1)

@hookimpl
def compress(request):
    Path("stray.txt").write_text("here")
    output = shutil.copytree(request.student.path, request.workdir / "out")
    (output / "salt.txt").write_text(secrets.token_hex())
    (request.base.path / "mark.txt").write_text(secrets.token_hex())
    return StepResult(checkpoint=output)
"""


@pytest.fixture
def rogue(tmp_path, monkeypatch, tiny_checkpoints):
    site = tmp_path / "site"
    package, metadata = site / "harness_rogue", site / "rogue-1.0.dist-info"
    metadata.mkdir(parents=True)
    package.mkdir()
    (package / "__init__.py").write_text(ROGUE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: rogue\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[harness]\nrogue = harness_rogue\n\n[harness.interface]\nrogue = v0\n")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[[step]]\nstage = "compress"\nmethod = "copy"\n')
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    importlib.invalidate_caches()
    return type("Rogue", (PluginConformance,), {"plugin": "rogue", "recipe": recipe})()


@pytest.fixture
def conducted(rogue, tmp_path, tiny_checkpoints):
    base = shutil.copytree(tiny_checkpoints["llama"], tmp_path / "base")
    (tmp_path / "run").mkdir()
    found = rogue._conduct(base, tmp_path / "run")

    def the_same(architecture):
        assert architecture == "llama"
        return found

    return the_same


class TestPluginConformance:
    def test_another_interface(self, rogue):
        """A plugin for another interface version does not pass."""
        with pytest.raises(AssertionError):
            rogue.test_states_the_interface()

    def test_torch_at_import(self, rogue):
        """A plugin whose import brings torch does not pass."""
        with pytest.raises(AssertionError, match="imports torch"):
            rogue.test_imports_without_torch()

    def test_no_recipe(self, rogue):
        """A plugin without a recipe does not pass."""
        with pytest.raises(AssertionError, match="ships no recipe"):
            rogue.test_recipes_parse()

    @pytest.mark.parametrize(
        "promise", ["test_respects_the_budget", "test_forecast_comes_true", "test_writes_only_in_workdir"]
    )
    def test_a_broken_promise(self, rogue, conducted, promise):
        """A result over budget, a forecast that is wrong, and a write outside of the work folder do not pass."""
        with pytest.raises(AssertionError):
            getattr(rogue, promise)(conducted, "llama")

    def test_what_was_written_where(self, conducted):
        """Both kinds of trespass are seen: the file that was left behind, and the base that was touched."""
        found = conducted("llama")
        assert found.strays == ("elsewhere/stray.txt",)
        assert found.base_digest_before != found.base_digest_after

    def test_chance_in_the_bytes(self, rogue, conducted, tmp_path, tiny_checkpoints):
        """A result that is not the same twice does not pass."""
        base = shutil.copytree(tiny_checkpoints["llama"], tmp_path / "again")
        (tmp_path / "second").mkdir()
        with pytest.raises(AssertionError):
            rogue.test_same_seed_same_digest(conducted, "llama", tmp_path / "second", {"llama": base})
