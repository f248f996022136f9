# ruff: noqa: S101 - these are tests
"""The contract of a plugin, as tests.

Derive, name the plugin and a short recipe, done::

    class TestConformance(PluginConformance):
        plugin = "my-strategy"
        recipe = Path(__file__).parent / "short.toml"

The recipe's steps are carried out on a tiny checkpoint of every architecture, by the code that the harness's own worker
runs, on the embedded corpus.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, ClassVar

import pytest

from harness.testing.tiny import ARCHITECTURES, Architecture

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness.testing.conducting import Conducted

PARAMETER_FRACTION = 0.75
IMPORT_TIME_S = 60

each_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


class PluginConformance:
    """What every plugin must hold; collected only through a class that derives from it."""

    plugin: ClassVar[str]
    """Name of its entry point."""
    recipe: ClassVar[Path]
    """A recipe that runs in seconds on a tiny model."""
    overrides: ClassVar[tuple[str, ...]] = ()
    """As ``--set`` takes them."""
    architectures: ClassVar[tuple[Architecture, ...]] = ARCHITECTURES
    """Those that the strategy is made for."""
    parameter_fraction: ClassVar[float] = PARAMETER_FRACTION
    """Budget of the result, as a share of the tiny checkpoint's parameters."""

    @pytest.fixture
    def conducted(
        self,
        finished_recipes: dict[tuple[type, Architecture], Conducted],
        tmp_path_factory: pytest.TempPathFactory,
        tiny_checkpoints: Mapping[Architecture, Path],
    ) -> Callable[[Architecture], Conducted]:
        """Carry the recipe out on one architecture; the first time it is asked for, later the same again."""

        def conduct_once(architecture: Architecture) -> Conducted:
            key = (type(self), architecture)
            if architecture not in self.architectures:
                pytest.skip(f"{self.plugin} is not made for {architecture}")
            if key not in finished_recipes:
                folder = tmp_path_factory.mktemp(architecture)
                finished_recipes[key] = self._conduct(tiny_checkpoints[architecture], folder)
            return finished_recipes[key]

        return conduct_once

    def _conduct(self, base: Path, folder: Path) -> Conducted:
        from harness.testing.conducting import conduct

        return conduct(
            self.plugin, self.recipe, self.overrides, base=base, folder=folder, fraction=self.parameter_fraction
        )

    def test_states_the_interface(self) -> None:
        """The plugin is installed and states the interface version of this harness."""
        from harness.run.discovery import find_plugin

        assert find_plugin(self.plugin).compatible

    def test_imports_without_torch(self) -> None:
        """Importing the plugin is quick: torch comes when a hook needs it."""
        from harness.run.discovery import find_plugin

        module = find_plugin(self.plugin).module
        code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
        child = subprocess.run([sys.executable, "-c", code], timeout=IMPORT_TIME_S, check=False)
        assert child.returncode == 0, f"importing {module} imports torch"

    def test_recipes_parse(self) -> None:
        """Every recipe that the plugin ships is understood by its own options."""
        from harness.testing.conducting import parse_recipe, shipped_recipes

        recipes = shipped_recipes(self.plugin)
        assert recipes, f"{self.plugin} ships no recipe"
        for recipe in recipes:
            assert parse_recipe(self.plugin, recipe).steps, f"{recipe.name} has no step"

    @each_architecture
    def test_result_is_a_checkpoint(
        self, conducted: Callable[[Architecture], Conducted], architecture: Architecture
    ) -> None:
        """What the last step wrote loads with stock classes and predicts with finite numbers."""
        from harness.testing.conducting import largest_logit

        assert 0 < largest_logit(conducted(architecture).result) < float("inf")

    @each_architecture
    def test_respects_the_budget(
        self, conducted: Callable[[Architecture], Conducted], architecture: Architecture
    ) -> None:
        """The result has at most as many parameters as the budget allows."""
        found = conducted(architecture)
        assert found.parameter_count <= found.parameter_budget

    @each_architecture
    def test_forecast_comes_true(
        self, conducted: Callable[[Architecture], Conducted], architecture: Architecture
    ) -> None:
        """Where the plugin predicts a step's parameters, the step makes exactly as many, or within its bounds."""
        for step in conducted(architecture).steps:
            if step.predicted is not None:
                least, most = step.predicted
                assert least <= step.parameter_count <= most

    @each_architecture
    def test_writes_only_in_workdir(
        self, conducted: Callable[[Architecture], Conducted], architecture: Architecture
    ) -> None:
        """The base is as it was, and nothing appeared beside the work folders."""
        found = conducted(architecture)
        assert found.base_digest_before == found.base_digest_after
        assert found.strays == ()

    @each_architecture
    def test_same_seed_same_digest(
        self,
        conducted: Callable[[Architecture], Conducted],
        architecture: Architecture,
        tmp_path: Path,
        tiny_checkpoints: Mapping[Architecture, Path],
    ) -> None:
        """Carried out again elsewhere, the recipe makes the same bytes."""
        first = conducted(architecture)
        second = self._conduct(tiny_checkpoints[architecture], tmp_path)
        assert [step.digest for step in first.steps] == [step.digest for step in second.steps]
