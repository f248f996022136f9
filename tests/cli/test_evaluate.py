"""``harness evaluate``: what MODEL may be, what is printed, and what is wrong with what was typed."""

from __future__ import annotations

import json
import shutil

import pytest
import typer
from typer.testing import CliRunner

from harness.cli import evaluate, evaluating
from harness.cli.subjects import named
from harness.errors import UsageError
from harness.pico import catalogue
from harness.rules.edition import load_edition
from harness.submission.looks import read_looks
from tests.judge.marking import marking
from tests.validation.make import make

DEMO, OFFICIAL = load_edition("demo"), load_edition("neurips-2024")


@pytest.fixture
def harness(tmp_path, monkeypatch):
    """Run the command; the workspace is a folder of the test's own."""
    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setattr(evaluating, "measure_tasks", marking(right=2, count=4))
    app = typer.Typer()
    evaluate.register(app)

    def run(*words):
        return CliRunner().invoke(app, list(map(str, words)))

    return run


class TestEvaluate:
    def test_prints_one_line_a_task(self, harness, tmp_path):
        """Score, error, interval, items, and whether it was there; the runs are looks."""
        first = harness("pico-llama", "--quiet", "--tasks", "gsm8k,truthful_qa")
        assert first.exit_code == 0, first.output
        (gsm8k,) = [line.split() for line in first.stdout.splitlines() if "GSM8K" in line]
        assert " ".join(gsm8k[:-2]) == "pico-llama gsm8k GSM8K 50 100 29 15 to 85 4"
        assert gsm8k[-1] == "new"
        assert "TruthfulQA" in first.stdout
        assert "not eligible" in first.stdout
        second = harness("pico-llama", "--quiet", "--tasks", "gsm8k,truthful_qa")
        assert second.stdout.count("reused") == 2
        looks = read_looks(tmp_path / "workspace" / "looks.jsonl")
        assert [(look.model, look.task) for look in looks] == [("llama", "gsm8k"), ("llama", "truthful_qa")]

    def test_json_is_one_document_and_a_file_if_asked(self, harness, tmp_path):
        """On standard output nothing else."""
        out = tmp_path / "out.json"
        answer = harness("pico-llama", "--quiet", "--json", "--tasks", "chid", "--limit", 3, "--out", out)
        document = json.loads(answer.stdout)
        assert document == json.loads(out.read_text())
        (model,) = document["models"]
        assert (model["base"], model["kind"], model["evaluation"]["item_limit"]) == ("llama", "chat", 3)
        (line,) = model["tasks"]
        assert line["score"]["task"] == "chid"
        assert line["interval_95"][0] < line["score"]["score"] < line["interval_95"][1]

    def test_help_has_examples(self, harness):
        """The way in."""
        shown = harness("--help")
        assert "Examples" in shown.stdout
        assert "--tasks-data" in shown.stdout

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("nowhere",), "nothing of that name"),
            (("pico-llama", "--tasks", "gsm9k"), "allowed by edition 'demo'"),
            (("pico-llama", "--edition", "neurips-2024"), "--tasks-data DIR"),
            (("pico-llama", "--tasks-data", "nowhere"), "no such folder"),
            (("pico-llama", "--limit", "0"), "at least 1"),
            (("pico-llama", "--texts", "nowhere"), "no such file"),
        ],
    )
    def test_what_is_wrong_is_said(self, harness, words, said):
        """A usage error with the way out."""
        error = harness(*words, "--quiet").exception
        assert isinstance(error, UsageError)
        assert said in str(error)

    def test_missing_official_data_is_named(self, harness, tmp_path):
        """The folder is there, the file is not."""
        error = harness("pico-llama", "--quiet", "--tasks-data", tmp_path, "--tasks", "gsm8k").exception
        assert "data/gsm8k/test.jsonl" in str(error)


class TestTexts:
    def test_two_models_are_compared_window_by_window(self, harness, tmp_path, tiny_checkpoints):
        """A figure each, and their difference with its interval."""
        texts = tmp_path / "texts.jsonl"
        texts.write_text("".join(json.dumps({"text": f"line {n} of some text"}) + "\n" for n in range(4)))
        words = ("--texts", texts, "--window-tokens", 32, "--quiet", "--threads", 1)
        document = json.loads(harness(tiny_checkpoints["llama"], tiny_checkpoints["qwen2"], *words, "--json").stdout)
        one, other = (model["figure"] for model in document["models"])
        (pair,) = document["pairs"]
        expected = one["bits_per_byte"] - other["bits_per_byte"]
        assert pair["difference"]["mean"] == pytest.approx(expected)
        assert not (tmp_path / "workspace" / "looks.jsonl").exists()


class TestNamed:
    def test_an_embedded_model_goes_by_the_edition_s_name(self):
        """``pico-llama`` stands in for llama in the demo; elsewhere its architecture says what it is."""
        for edition in (DEMO, OFFICIAL):
            (one,) = named("pico-llama", edition, weights=None, kind=None)
            assert (one.label, one.base, one.kind, one.path) == (
                "pico-llama",
                "llama",
                "chat",
                catalogue.path(one.label),
            )

    def test_a_folder_goes_by_its_architecture(self, tmp_path, tiny_checkpoints):
        """And where the edition has none of that, by its name; a template makes it a chat model."""
        (one,) = named(str(tiny_checkpoints["qwen2"]), DEMO, weights=None, kind=None)
        assert one.base == "qwen2"
        other = shutil.copytree(tiny_checkpoints["qwen2"], tmp_path / "My Model")
        config = json.loads((other / "config.json").read_text()) | {"model_type": "mamba"}
        (other / "config.json").write_text(json.dumps(config))
        (other / "tokenizer_config.json").write_text("{}")
        for name in ("chat_template.jinja", "chat_template.json"):
            (other / name).unlink(missing_ok=True)
        (one,) = named(str(other), DEMO, weights=None, kind=None)
        assert (one.base, one.kind) == ("my-model", "base")
        (other / "chat_template.jinja").write_text("x")
        assert named(str(other), DEMO, weights=None, kind=None)[0].kind == "chat"

    def test_the_kind_can_be_said(self):
        """What was typed holds; Phi-2 is a base model by the competition's rules."""
        assert named("pico-llama", DEMO, weights=None, kind="base")[0].kind == "base"
        assert named("pico-phi", OFFICIAL, weights=None, kind=None)[0].kind == "base"

    def test_a_bundle_is_its_final_checkpoints(self, tmp_path):
        """Each under its base model; without the weights it says what to name."""
        made = make(tmp_path)
        found = named(str(made.path), DEMO, weights=made.weights, kind=None)
        assert [(one.label, one.base) for one in found] == [
            (f"{name} final", name) for name in ("llama", "qwen2", "phi")
        ]
        assert all(one.path == (made.weights / one.base / "final").resolve() for one in found)
        with pytest.raises(UsageError, match="--weights DIR"):
            named(str(made.path), DEMO, weights=None, kind=None)
