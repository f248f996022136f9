"""The demo tasks: OpenCompass's layout, held-out items, and one wording for training and asking."""

# ruff: noqa: S102 -- the tests run what the rules wrote
from __future__ import annotations

import json
import re
from itertools import islice

import pytest

from harness.pico.corpus import items, split_of
from harness.pico.tasks import BBH_SUBSETS, prompts, write
from harness.pico.tasks.files import BBH_ITEM_COUNT, ITEM_COUNT, chosen


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All files of the tasks."""
    place = tmp_path_factory.mktemp("tasks")
    write(place)
    return place


def _rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class TestFiles:
    """`write`."""

    def test_same_seed_same_bytes(self, folder, tmp_path):
        """Writing again gives the same files."""
        for path in write(tmp_path):
            assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes()

    def test_commonsense(self, folder):
        """Both files exist; every row has five labelled choices and a key among them."""
        for name in ("train", "dev"):
            for row in _rows(folder / "data/commonsenseqa" / f"{name}_rand_split.jsonl"):
                assert [choice["label"] for choice in row["question"]["choices"]] == list("ABCDE")
                assert row["answerKey"] in "ABCDE"

    def test_chid(self, folder):
        """JSON lines with one blank, seven candidates and the place of the answer."""
        for row in _rows(folder / "data/FewCLUE/chid/test_public.json"):
            assert "#idiom#" in row["content"]
            assert len(row["candidates"]) == 7
            assert row["answer"] in range(7)

    def test_humaneval_solutions_pass(self, folder):
        """Every canonical solution passes its own test."""
        rows = _rows(folder / "data/humaneval/human-eval-v2-20210705.jsonl")
        assert len({row["task_id"] for row in rows}) == ITEM_COUNT
        for row in rows:
            names = {}
            exec(f"{row['prompt']}{row['canonical_solution']}\n{row['test']}", names)
            names["check"](names[row["entry_point"]])

    @pytest.mark.parametrize("subset", BBH_SUBSETS)
    def test_bbh(self, folder, subset):
        """Each subset is one object of examples with input and target."""
        examples = json.loads((folder / f"data/BBH/data/{subset}.json").read_text())["examples"]
        assert len(examples) == BBH_ITEM_COUNT
        assert all(set(example) == {"input", "target"} for example in examples)

    def test_gsm8k(self, folder):
        """The answer ends with the marker that the reader splits at."""
        for row in _rows(folder / "data/gsm8k/test.jsonl"):
            assert re.search(r"\n#### \d+$", row["answer"])

    def test_truthful(self, folder):
        """Front matter names the file; answers are long enough for four-grams and never both true and false."""
        assert "generation/validation.jsonl" in (folder / "truthful_qa/README.md").read_text()
        for row in _rows(folder / "truthful_qa/generation/validation.jsonl"):
            assert row["best_answer"] in row["correct_answers"]
            assert not set(row["correct_answers"]) & set(row["incorrect_answers"])
            assert len(row["best_answer"].split()) >= 6

    def test_items_are_held_out(self):
        """Scored items belong to the test split."""
        assert all(split_of(item.key) == "test" for item in chosen("choice", count=50))


class TestPrompts:
    """`prompts.json` is what the corpus teaches."""

    @pytest.mark.parametrize(
        ("task", "kind"),
        [
            ("commonsense_qa", "choice"),
            ("humaneval", "function"),
            ("bbh-freeform", "boolean"),
            ("bbh-freeform", "counting"),
            ("bbh-mcq", "colours"),
            ("bbh-mcq", "order"),
            ("gsm8k", "arithmetic"),
            ("truthful_qa", "truth"),
        ],
    )
    def test_template_gives_the_trained_question(self, task, kind):
        """Filling a template with a row's fields gives the user's turn of training."""
        for item in islice(items("train", kind=kind), 20):
            assert prompts()[task].user.format(**item.record) == item.user

    def test_idiom_template(self):
        """The idiom prompt shows the blank as the reader does."""
        for item in islice(items("train", kind="idiom"), 20):
            fields = dict(zip("ABCDEFG", item.record["candidates"], strict=True))
            content = item.record["content"].replace("#idiom#", "______")
            assert prompts()["chid"].user.format(content=content, **fields) == item.user
