"""Plans from configurations alone: the published shapes, without a weight, a download or a plugin's code in the way."""

from __future__ import annotations

import json

import pytest

from harness.cli.app import run
from harness.errors import UsageError
from harness.run.bases import shipped_config
from harness.run.planning import forecast_of, make_cut_plan
from harness.run.settings import SubmitSettings
from harness.run.workspace import Workspace

TOTALS = {
    "meta-llama/Meta-Llama-3.1-8B-Instruct": 8_030_261_248,
    "Qwen/Qwen2-7B-Instruct": 7_615_616_512,
    "microsoft/phi-2": 2_779_683_840,
}


def planned(tmp_path, model, cuts, **settings):
    typed = SubmitSettings(
        plugin="cuts", track="compression", models=(model,), time_limit_s=60, memory_limit_bytes=10**9, **settings
    )
    return make_cut_plan(typed, Workspace(tmp_path), cuts).models[0]


class TestShippedConfigurations:
    @pytest.mark.parametrize(("hub_id", "total"), TOTALS.items())
    def test_totals(self, hub_id, total):
        """The competition's models to the last parameter, from the configurations that come along."""
        assert forecast_of(shipped_config(hub_id), 2048).parameter_count == total

    def test_others_are_not_shipped(self):
        """A hub id that is none of the competition's, or a path, has none."""
        assert shipped_config("meta-llama/Llama-2-7b") is None
        assert shipped_config("../editions/demo") is None


class TestCutPlan:
    @pytest.mark.parametrize(
        ("model", "cuts", "totals"),
        [
            (
                "llama",
                [["vocab=77209"], ["kv_group=7", "intermediate=11468@4-27"]],
                [7_612_084_224, 6_598_504_448],
            ),
            ("qwen2", [["vocab=106155"], ["kv_group=3", "intermediate=14208@4-24"]], [7_286_540_800, 6_011_636_736]),
            ("phi", [["vocab=47819"]], [2_762_369_739]),
            ("qwen2", [["hidden=2560", "head=5", "intermediate=12288"]], [3_861_627_392]),
        ],
    )
    def test_published_shapes(self, tmp_path, model, cuts, totals):
        """The winners' shapes, step by step."""
        made = planned(tmp_path, model, cuts)
        assert [step.forecast.parameter_count for step in made.steps] == totals
        assert [step.disk_bytes for step in made.steps] == [2 * total for total in totals]
        assert made.download_bytes == 2 * made.base.parameter_count

    def test_what_stock_classes_refuse_is_said(self, tmp_path):
        """Layers of different widths need a structure; the same width in all of them does not."""
        ragged = planned(tmp_path, "llama", [["intermediate=11468@4-27"], ["intermediate=11468"]])
        assert [step.forecast.shape.is_stock for step in ragged.steps] == [False, True]
        assert ragged.steps[0].forecast.shape.intermediate == (11468, 14336)

    def test_a_bare_configuration_is_enough(self, tmp_path):
        """A folder with nothing but a config.json can be planned for."""
        (tmp_path / "config.json").write_text(json.dumps(shipped_config("microsoft/phi-2")))
        made = planned(tmp_path, "phi", [["layer=30"]], bases={"phi": str(tmp_path)})
        assert made.download_bytes == 0
        assert made.steps[0].forecast.shape.layers == 30

    def test_a_cut_that_does_not_fit(self, tmp_path):
        """The message has the cut and what is allowed."""
        with pytest.raises(UsageError, match=r"intermediate=99999: must be in 1\.\.14336"):
            planned(tmp_path, "llama", [["intermediate=99999"]])


class TestCommand:
    @pytest.fixture(autouse=True)
    def _elsewhere(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)

    def test_json(self, capsys):
        """What a script reads has the same numbers, and the limit that they are held against."""
        assert run(["plan", "--track", "compression", "--cut", "vocab=77209", "--context", "1024", "--json"]) == 0
        plan = json.loads(capsys.readouterr().out)
        step = plan["models"][0]["steps"][0]["forecast"]
        assert step["parameter_count"] == 7_612_084_224
        assert step["inference_bytes"] > step["weights_bytes"] + 1024 * step["kv_bytes_per_token"]
        assert (plan["context_tokens"], plan["memory_limit_bytes"]) == (1024, 12_000_000_000)

    def test_table(self, capsys):
        """People see the shapes, a mark where memory is over the limit, and what is not stock."""
        assert run(["plan", "--track", "compression", "--cut", "kv_group=7"]) == 0
        text = capsys.readouterr().out
        assert "28/7" in text
        assert " !" in text
        assert "no stock class has this shape" in text

    @pytest.mark.parametrize("words", [[], ["--plugin", "baseline-l1", "--cut", "layer=1"]])
    def test_plugin_or_cuts(self, capsys, words):
        """One of the two is what is planned."""
        assert run(["plan", *words]) == 2
        assert "either --plugin" in capsys.readouterr().err
