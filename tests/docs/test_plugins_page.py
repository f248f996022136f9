"""The page for plugin authors knows every hook, and the plugin on it works."""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from pathlib import Path

import pytest

from harness import hookspecs
from harness.run.discovery import find_plugin
from harness.testing.conducting import conduct, parse_recipe, shipped_recipes

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
HOOKS = [name for name, value in vars(hookspecs).items() if hasattr(value, "harness_spec")]
LISTING = re.compile(r"^`(?P<name>[\w./-]+)`\n\n```\w+\n(?P<content>.*?)^```$", re.MULTILINE | re.DOTALL)


class TestHooks:
    @pytest.mark.parametrize("hook", HOOKS)
    def test_is_in_the_table(self, hook):
        """Each hook stands in the table with its arguments."""
        arguments = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)
        assert f"`{hook}({arguments})`" in PAGE.read_text()

    @pytest.mark.parametrize("hook", HOOKS)
    def test_signature_is_true(self, hook):
        """Each hook's full signature is the one of the specification."""
        signature = str(inspect.signature(getattr(hookspecs, hook))).replace("'", "")
        assert f"def {hook}{signature}: ..." in PAGE.read_text()

    def test_there_are_hooks(self):
        """The list that the other tests walk is not empty."""
        assert len(HOOKS) == 8


@pytest.fixture
def written(tmp_path, monkeypatch):
    """The files of the page, written out, with the metadata that installing them would leave."""
    files = {match["name"]: match["content"] for match in LISTING.finditer(PAGE.read_text())}
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    metadata = tmp_path / "src" / "narrow_mlp-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = (
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    )
    (metadata / "entry_points.txt").write_text("\n".join(groups))
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    importlib.invalidate_caches()
    return tmp_path


class TestThePluginOfThePage:
    def test_is_found_and_its_recipe_parses(self, written):
        """Installed, the plugin states this interface and understands the recipe that it ships."""
        assert (written / "tests" / "test_conformance.py").is_file()
        assert find_plugin("narrow-mlp").compatible
        (recipe,) = shipped_recipes("narrow-mlp")
        assert parse_recipe("narrow-mlp", recipe).steps[0].method == "narrow"

    @pytest.mark.usefixtures("written")
    def test_does_what_the_page_says(self, tmp_path, tiny_checkpoint):
        """It makes a model of the predicted size within the budget, and touches nothing else."""
        (tmp_path / "run").mkdir()
        found = conduct(
            "narrow-mlp",
            shipped_recipes("narrow-mlp")[0],
            (),
            base=tiny_checkpoint,
            folder=tmp_path / "run",
            fraction=0.8,
        )
        assert found.steps[0].predicted == (found.parameter_count, found.parameter_count)
        assert found.parameter_count <= found.parameter_budget
        assert found.strays == ()
