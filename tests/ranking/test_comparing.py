"""Two bundles or checkpoints side by side: what both have is compared, what cannot be is said."""

from __future__ import annotations

import json
import shutil

import pytest

from harness.errors import UsageError
from harness.pico import catalogue
from harness.ranking.comparing import compare
from harness.ranking.comparison import Comparison
from harness.ranking.sides import flattened
from harness.submission import layout


@pytest.fixture(scope="module")
def bundles(filed):
    return [filed / "demo" / f"2026-11-22-{team}-baseline-l1" for team in ("alpha", "beta", "gamma")]


class TestBundles:
    def test_scores_are_paired_for_each_model_and_for_the_mean(self, bundles):
        """McNemar for one model, item by item for the mean; both on all tasks."""
        found = compare(bundles[0], bundles[2])
        assert [one.model for one in found.models] == ["llama", "qwen2", "phi"]
        for one in found.models:
            assert {task.test for task in one.tasks} == {"McNemar, exact"}
            assert all(task.difference == pytest.approx(task.first - task.second) for task in one.tasks)
        assert {task.test for task in found.mean_tasks} == {"paired by item"}
        assert len(found.mean_tasks) == 6
        assert all(task.p_holm < 0.05 for task in found.mean_tasks)

    def test_turned_round_it_says_the_same(self, bundles):
        """Differences change their signs, p-values stay."""
        there, back = compare(bundles[0], bundles[1]), compare(bundles[1], bundles[0])
        for one, other in zip(there.mean_tasks, back.mean_tasks, strict=True):
            assert one.difference == pytest.approx(-other.difference)
            assert one.p_value == pytest.approx(other.p_value)

    def test_an_entry_equals_itself(self, bundles):
        """No difference, nothing chosen otherwise."""
        found = compare(bundles[0], bundles[0])
        assert all(task.difference == 0 and task.p_value == 1 for task in found.mean_tasks)
        assert found.options == ()
        assert all(line.ratio == 1 for one in found.models for line in one.quantities)

    def test_memory_speed_and_bits_stand_beside(self, bundles):
        """Ratios are first over second; bits per byte say that they are not paired."""
        (one,) = compare(bundles[0], bundles[1], model="phi").models
        lines = {line.name: line for line in one.quantities}
        assert lines["decode"].ratio == pytest.approx(100 / 101)
        assert lines["peak memory"].ratio == 1
        assert one.bits_per_byte.low < 0 < one.bits_per_byte.high
        assert one.bits_per_byte.test == "unpaired"

    def test_what_was_chosen_otherwise(self, bundles, tmp_path):
        """By its path in the recipe; what is the same is not listed."""
        other = tmp_path / bundles[0].name
        shutil.copytree(bundles[0], other)
        recipe = json.loads((other / layout.RECIPE).read_text())
        recipe["models"][0]["options"] = {"steps": [{"method": "l1", "keep": 0.5}]}
        (other / layout.RECIPE).write_text(json.dumps(recipe))
        found = {option.field: (option.first, option.second) for option in compare(bundles[0], other).options}
        assert found == {
            "llama.steps": ([], None),
            "llama.steps.0.method": (None, "l1"),
            "llama.steps.0.keep": (None, 0.5),
        }

    def test_is_a_document(self, bundles, tmp_path):
        """Written and read again."""
        found = compare(bundles[0], bundles[1])
        found.write(tmp_path / "c.json")
        assert Comparison.read(tmp_path / "c.json") == found

    def test_weights_that_are_not_here_are_said(self, bundles):
        """With the way out."""
        assert any("--weights" in note for note in compare(bundles[0], bundles[1]).notes)


class TestCheckpoints:
    def test_shapes_and_parameters(self):
        """Two embedded models: their sizes, and that there are no scores to compare."""
        found = compare(catalogue.path("pico-llama"), catalogue.path("pico-qwen2"))
        (one,) = found.models
        shapes = {shape.axis: (shape.first, shape.second) for shape in one.shapes}
        assert set(shapes) == {"layer", "vocab", "hidden", "intermediate", "kv_group", "head", "head_dim"}
        assert all(first and second for first, second in shapes.values())
        assert one.quantities[0].first > 0
        assert (one.tasks, one.bits_per_byte, found.mean_tasks) == ((), None, ())
        assert any("harness evaluate" in note for note in found.notes)

    def test_a_bundle_and_a_checkpoint(self, bundles):
        """One model of the bundle has to be named."""
        with pytest.raises(UsageError, match="--model NAME, of llama, qwen2, phi"):
            compare(bundles[0], catalogue.path("pico-llama"))
        (one,) = compare(bundles[0], catalogue.path("pico-llama"), model="llama").models
        assert one.model == "llama"
        assert one.quantities[0].second > one.quantities[0].first

    def test_neither(self, tmp_path, bundles):
        """Named, with what was expected."""
        with pytest.raises(UsageError, match=r"a bundle \(submission.json\) or a checkpoint"):
            compare(tmp_path, bundles[0])

    def test_nothing_in_common(self, bundles):
        """No model of that name."""
        with pytest.raises(UsageError, match="no model in common called gpt"):
            compare(bundles[0], bundles[1], model="gpt")


class TestFlattened:
    def test_leaves_by_path(self):
        """Empty lists and mappings are leaves, so that nothing is lost."""
        assert flattened("a", {"b": [1, {"c": None}], "d": []}) == {"a.b.0": 1, "a.b.1.c": None, "a.d": []}
