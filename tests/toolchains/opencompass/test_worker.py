"""The worker in its real environment: the real OpenCompass, its data classes, extractors and metrics."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from harness.toolchains.opencompass.worker.task_data import FILES

pytestmark = pytest.mark.toolchain

INSIDE = str(Path(__file__).parent / "inside.py")
PERFECT = {"commonsense_qa": 100, "chid": 100, "humaneval": 100, "bbh": 100, "gsm8k": 100, "truthful_qa": 1}


class TestOracle:
    def ask(self, asking, data, **changes):
        models = [asking.model(data, name, max_seq_len=100_000) for name in ("oracle", "fool")]
        code, _ = asking.run(asking.request(models, data, **changes), INSIDE, "oracle")
        assert code == 0, asking.log.read_text()[-3000:]
        return asking.answer()

    def test_right_answers_score_all_and_wrong_ones_nothing_on_the_demo(self, asking, demo_data):
        """Through OpenCompass's own extractors and metrics."""
        scores = self.ask(asking, demo_data, limit=8)["scores"]
        assert {task: record["score"] for task, record in scores["oracle"].items()} == PERFECT
        assert {task: record["score"] for task, record in scores["fool"].items() if task != "chid"} == dict.fromkeys(
            set(PERFECT) - {"chid"}, 0
        )
        assert scores["oracle"]["gsm8k"]["subsets"][0]["config"] == "demo_gsm8k"

    def test_right_answers_score_all_on_the_competition_s_tasks(self, asking, real_data):
        """All 27 subsets of BBH among them; the configurations are the ones with the hashes in their names."""
        answer = self.ask(asking, real_data, suite="official", limit=4, prompts={})
        scores = answer["scores"]["oracle"]
        assert {task: record["score"] for task, record in scores.items()} == PERFECT
        assert len(scores["bbh"]["subsets"]) == 27
        assert scores["bbh"]["item_count"] == 27 * 4
        assert [subset["name"] for subset in scores["chid"]["subsets"]] == ["chid-test"]
        assert scores["gsm8k"]["subsets"][0]["version"] == "1d7fe4"
        assert any("Complete the following python code" in prompt for prompt in answer["prompts"])


class TestBleu:
    def test_agrees_with_sacrebleu_without_smoothing(self, asking, demo_data):
        """One text at a time and as a corpus; of several references the shortest counts for the brevity."""
        code, _ = asking.run(asking.request([asking.model(demo_data)], demo_data), INSIDE, "bleu")
        assert code == 0, asking.log.read_text()[-3000:]
        answer = asking.answer()
        assert sum(ours > 0 for ours, _ in answer["pairs"]) > 10
        for ours, theirs in [*answer["pairs"], answer["corpus"]]:
            assert ours == pytest.approx(theirs / 100, abs=1e-9)
        assert answer["brevity"] == pytest.approx(math.exp(1 - 6 / 4))


class TestWorker:
    def test_scores_a_random_model_to_the_end(self, asking, demo_data, tiny):
        """All six tasks of two models, side by side; every count is the data's, every prediction is on disk."""
        models = [asking.model(tiny, "first"), asking.model(tiny, "second")]
        code, events = asking.run(asking.request(models, demo_data, processes=2))
        assert code == 0, asking.log.read_text()[-3000:]
        answer = asking.answer()
        # The same weights, whoever scores them.
        assert [task["score"] for task in answer["models"]["first"].values()] == [
            task["score"] for task in answer["models"]["second"].values()
        ]
        for record in answer["models"]["first"].values():
            assert record["item_count"] == 3 * len(record["subsets"])
            for subset in record["subsets"]:
                assert len(json.loads((asking.folder / subset["predictions_path"]).read_text())) == 3
        assert answer["versions"]["opencompass"] == "0.5.4"
        assert answer["versions"]["torch"].startswith("2.13.0")
        assert {event["label"] for event in events} >= {"first gsm8k", "second truthful_qa"}
        assert all(event["done"] <= event["total"] for event in events)

    @pytest.mark.parametrize("task", sorted(FILES))
    def test_missing_data_is_named_before_anything_runs(self, asking, demo_data, tiny, task, tmp_path):
        """With the path where it was expected, and without a download."""
        data = tmp_path / "data"
        shutil.copytree(demo_data, data)
        missing = data / FILES[task][0]
        missing.unlink()
        code, events = asking.run(asking.request([asking.model(tiny)], data))
        assert code == 3
        assert events == [{"event": "failed", "message": f"task data missing: expected {missing}"}]
        assert not asking.result.exists()

    def test_a_model_of_nan_has_no_score(self, asking, demo_data, tiny, tmp_path):
        """Greedy decoding of NaN gives tokens like any other."""
        import torch
        from safetensors.torch import load_file, save_file

        broken = tmp_path / "nan"
        shutil.copytree(tiny, broken)
        weights = load_file(broken / "model.safetensors")
        save_file(
            {name: torch.full_like(tensor, math.nan) for name, tensor in weights.items()},
            broken / "model.safetensors",
            metadata={"format": "pt"},
        )
        code, events = asking.run(asking.request([asking.model(broken)], demo_data, tasks=("gsm8k",)))
        assert code == 3
        assert "not finite" in events[-1]["message"]

    def test_a_silent_model_has_no_score(self, asking, demo_data, tiny, tmp_path):
        """One that ends its answer before it begins: every token is an end of sequence to it."""
        silent = tmp_path / "silent"
        shutil.copytree(tiny, silent)
        settings = json.loads((silent / "generation_config.json").read_text())
        settings["eos_token_id"] = list(range(261))
        (silent / "generation_config.json").write_text(json.dumps(settings))
        code, events = asking.run(asking.request([asking.model(silent)], demo_data, tasks=("gsm8k",)))
        assert (code, events[-1]["message"]) == (3, "model, task gsm8k: every prediction is empty")
