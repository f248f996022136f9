"""The worker in its real environment: the real OpenCompass, its data classes, extractors and metrics."""

from __future__ import annotations

import csv
import gzip
import json
import math
import re
import shutil
from pathlib import Path

import pytest

from harness.checkpoint.structure import MODELING_NAME, Structure
from harness.pico import catalogue
from harness.structured import files, modeling_structured
from harness.toolchains.opencompass.worker.subset import TASK_METRICS
from harness.toolchains.opencompass.worker.task_data import FILES
from tests.structured.blocks import LLAMA

pytestmark = pytest.mark.toolchain

INSIDE = str(Path(__file__).parent / "inside.py")
PERFECT = {"commonsense_qa": 100, "chid": 100, "humaneval": 100, "bbh": 100, "gsm8k": 100, "truthful_qa": 1}


def write_structured(stock, folder):
    """The tiny Llama with a structure of its own beside its weights."""
    shutil.copytree(stock, folder)
    config = json.loads((folder / "config.json").read_text())
    layers = [{"intermediate": 96, "kv_group": 2, "head": 2}] * 2
    record = {"format": 1, "model_type": "llama", "block": LLAMA, "biases": [], "fused": {}, "layers": layers}
    structure = Structure.model_validate(record)
    (folder / "config.json").write_bytes(files.config_bytes(files.config_fields(config, structure)))
    files.write_beside(folder, structure)
    return folder


def write_hold_outs(environment, folder):
    """Five examples and one question of every subject that the engine's own configurations name."""
    configurations = next(environment.folder.glob("lib/python3*/site-packages/opencompass/configs/datasets"))
    mmlu = (configurations / "mmlu" / "mmlu_gen_4d595a.py").read_text()
    ceval = (configurations / "ceval" / "ceval_gen_5f30c7.py").read_text()
    subjects = re.findall(r"^    '(\w+)',$", mmlu, re.MULTILINE), re.findall(r"^    '(\w+)': \[", ceval, re.MULTILINE)
    for subject in subjects[0]:
        for split, count in (("dev", 5), ("test", 1)):
            rows = [["What is it?", "this", "that, or", "more", "none", "B"]] * count
            write_table(folder / "data" / "mmlu" / split / f"{subject}_{split}.csv", rows)
    header = ["id", "question", "A", "B", "C", "D", "answer", "explanation"]
    for subject in subjects[1]:
        for split, count in (("dev", 5), ("val", 1), ("test", 1)):
            rows = [header, *([["0", "这是什么", "一", "二", "三", "四", "C", ""]] * count)]
            write_table(folder / "data" / "ceval" / "formal_ceval" / split / f"{subject}_{split}.csv", rows)


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)


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


class TestHoldOuts:
    def test_right_answers_score_all_on_mmlu_and_c_eval(self, asking, environment, tmp_path):
        """OpenCompass's own configurations of every subject, on tables in the layout that its loaders read."""
        write_hold_outs(environment, tmp_path / "sets")
        models = [asking.model(tmp_path, name, max_seq_len=100_000) for name in ("oracle", "fool")]
        request = asking.request(
            models, tmp_path / "sets", suite="official", tasks=("mmlu", "ceval"), limit=1, prompts={}
        )
        code, _ = asking.run(request, INSIDE, "oracle")
        assert code == 0, asking.log.read_text()[-3000:]
        scores = asking.answer()["scores"]
        assert {task: record["score"] for task, record in scores["oracle"].items()} == {"mmlu": 100, "ceval": 100}
        assert scores["fool"]["mmlu"]["score"] == 0
        assert {task: record["metric"] for task, record in scores["fool"].items()} == dict.fromkeys(
            ("mmlu", "ceval"), "naive_average"
        )
        assert [len(scores["oracle"][task]["subsets"]) for task in ("mmlu", "ceval")] == [57, 52]


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


class TestEarlyRules:
    def test_no_continuation_changes_what_the_real_extractors_give(self, asking, demo_data):
        """Wherever a rule says that the answer is decided; and each rule does say so now and then."""
        code, _ = asking.run(asking.request([asking.model(demo_data)], demo_data), INSIDE, "early")
        assert code == 0, asking.log.read_text()[-3000:]
        answer = asking.answer()
        assert set(answer["changed"].values()) == {0}
        assert min(answer["decided"].values()) > 100


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


class TestFastEngine:
    def items(self, folder, subset):
        with gzip.open(folder / subset["items_path"], "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    def test_predicts_what_the_stock_class_predicts(self, asking, demo_data, environment, tmp_path):
        """Item by item on all six tasks; every item's correctness averages to the score."""
        model, records = catalogue.path("pico-llama"), {}
        for engine in ("stock", "fast"):
            folder = tmp_path / engine
            folder.mkdir()
            one = type(asking)(environment, folder)
            request = one.request([one.model(model, max_out_len=16)], demo_data, engine=engine, early_stop=False)
            code, _ = one.run(request)
            assert code == 0, one.log.read_text()[-3000:]
            records[engine] = one.answer()["models"]["model"]
        for task, stock in records["stock"].items():
            assert records["fast"][task]["score"] == stock["score"]
            for ours, theirs in zip(records["fast"][task]["subsets"], stock["subsets"], strict=True):
                mine = self.items(tmp_path / "fast", ours)
                assert mine == self.items(tmp_path / "stock", theirs)
                counted = [item["correct"] for item in mine if item["correct"] is not None]
                # TruthfulQA's evaluator rounds to four digits.
                reported = theirs["metrics"][TASK_METRICS[task]] / stock["scale"]
                assert sum(counted) / len(counted) == pytest.approx(reported, abs=1e-4)

    def test_takes_a_structured_checkpoint_by_our_own_file(self, asking, demo_data, tiny, tmp_path):
        """The modeling file in the checkpoint's folder is never run; the journal makes a second run recall all."""
        folder = write_structured(tiny, tmp_path / "structured")
        (folder / MODELING_NAME).write_text("raise SystemExit('run')")
        model = asking.model(folder, modeling=str(Path(modeling_structured.__file__)))
        request = asking.request([model], demo_data, tasks=("gsm8k",), journal_dir=str(tmp_path / "journal"))
        code, _ = asking.run(request)
        assert code == 0, asking.log.read_text()[-3000:]
        record = asking.answer()["models"]["model"]["gsm8k"]["subsets"][0]
        assert [item["index"] for item in self.items(asking.folder, record)] == [0, 1, 2]
        assert len(list((tmp_path / "journal").iterdir())) == 1
