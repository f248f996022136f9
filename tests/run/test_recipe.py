"""Recipes: overrides land where they say, and every error names file, line and field."""

from __future__ import annotations

import pytest

from harness.errors import RecipeError
from harness.run.protocol import Problem
from harness.run.recipe import line_of, read_recipe, refused

TEXT = """# a recipe
comment = "kept"

[[step]]
stage = "compress"
method = "l1"

[[step]]
stage = "train"
method = "lora"
rank = 8
"""


@pytest.fixture
def recipe_file(tmp_path):
    path = tmp_path / "o.toml"
    path.write_text(TEXT)
    return path


class TestReadRecipe:
    def test_keeps_the_order_of_steps(self, recipe_file):
        """Steps come as they stand in the file, beside the other options."""
        table = read_recipe(recipe_file).table
        assert [step["method"] for step in table["steps"]] == ["l1", "lora"]
        assert table["comment"] == "kept"

    @pytest.mark.parametrize("override", ["lora.rank=16", "steps.2.rank=16"])
    def test_override_reaches_its_step_only(self, recipe_file, override):
        """A step is named by its method or by its number from one."""
        steps = read_recipe(recipe_file, [override]).table["steps"]
        assert steps[1]["rank"] == 16
        assert "rank" not in steps[0]

    @pytest.mark.parametrize("override", ["lora.mixture.c4=0.25", "steps.2.mixture.c4=0.25"])
    def test_override_reaches_into_a_table(self, recipe_file, override):
        """One name of a mixture, the others as they are; a table that is not there is begun."""
        assert read_recipe(recipe_file, [override]).table["steps"][1]["mixture"] == {"c4": 0.25}
        both = read_recipe(recipe_file, ["lora.mixture.alpaca=0.75", override]).table["steps"]
        assert both[1]["mixture"] == {"alpaca": 0.75, "c4": 0.25}
        assert "mixture" not in both[0]

    def test_override_into_what_is_no_table_is_refused(self, recipe_file):
        """A number has no fields."""
        with pytest.raises(RecipeError, match="rank is no table, found 16; set rank itself"):
            read_recipe(recipe_file, ["lora.rank=16", "lora.rank.c4=1"])

    def test_override_that_is_no_toml_value_is_text(self, recipe_file):
        """`--set comment=plain words` needs no quotes."""
        assert read_recipe(recipe_file, ["comment=plain words"]).table["comment"] == "plain words"

    @pytest.mark.parametrize("override", ["rank", "=3", "lora..rank=1", "steps.9.rank=1", "nothing.rank=1"])
    def test_override_that_names_nothing_is_refused(self, recipe_file, override):
        """The message repeats what was typed."""
        with pytest.raises(RecipeError, match="--set"):
            read_recipe(recipe_file, [override])

    def test_broken_file_is_named(self, tmp_path):
        """A file that is no TOML is an error with its path."""
        path = tmp_path / "broken.toml"
        path.write_text("step = [")
        with pytest.raises(RecipeError, match=r"broken\.toml"):
            read_recipe(path)


class TestRefused:
    @pytest.mark.parametrize(
        ("path", "line"),
        [
            (("steps", 1, "rank"), 11),
            (("steps", 0, "method"), 6),
            (("steps", 1, "absent"), 8),
            (("comment",), 2),
            (("absent",), 1),
        ],
    )
    def test_line_of_a_field(self, path, line):
        """The line of the field, or of its table where the field is missing."""
        assert line_of(TEXT, path) == line

    def test_names_file_line_field_and_the_near_name(self, recipe_file):
        """One sentence tells where, what and the way out."""
        problem = Problem(
            path=("steps", 1, "rnak"), message="Extra inputs are not permitted", found="8", allowed=("rank",)
        )
        message = str(refused(read_recipe(recipe_file), [problem]))
        assert "o.toml:8: steps.2.rnak" in message
        assert "did you mean 'rank'?" in message
