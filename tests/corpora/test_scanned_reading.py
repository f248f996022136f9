"""A leak in a local copy is counted by the door that it went through, and counted the same after a kill."""

from __future__ import annotations

import os
import shutil
import signal

import pytest

from harness.corpora.door import DataDoor, DoorSettings
from harness.corpora.evaluation_sets import EvaluationSets, evaluation_texts
from harness.corpora.ledger import Ledger
from harness.corpora.windows import pack
from harness.errors import UsageError
from harness.pico import tasks
from harness.rules.edition import load_edition

TASKS = ("bbh", "chid", "gsm8k", "humaneval")
LEAKED = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The demo's tasks as files."""
    made = tmp_path_factory.mktemp("tasks")
    tasks.write(made)
    return made


@pytest.fixture(scope="module")
def sets(folder):
    return EvaluationSets.of(folder, TASKS, scored=TASKS)


@pytest.fixture
def leaking(rules, write, sets):
    """A local copy of c4, every fourth document of which ends with an item of gsm8k."""
    items = [" ".join(text.segments) for text in sets.texts() if text.task == "gsm8k"][:LEAKED]
    documents = [f"Document {number} is about nothing in particular." for number in range(4 * LEAKED)]
    for number, item in enumerate(items):
        documents[4 * number] += f" {item}"
    path = write("c4.jsonl", [{"text": text} for text in documents])
    return DoorSettings(rules=rules, local={"c4": str(path)})


def counted(door, task="gsm8k"):
    return next(one for one in door.ledger().overlaps() if one.task == task)


class TestDoor:
    def test_counts_a_planted_leak(self, leaking, sets):
        """Every planted item of the split is held, each in its own document; other tasks are not touched."""
        door = DataDoor(leaking, evaluation=sets)
        texts = [sample.text for sample in door.open("c4")]
        planted = sum("particular. " in text for text in texts)
        assert LEAKED / 2 < planted <= LEAKED
        assert counted(door).held_count == planted
        assert counted(door).sample_count >= planted
        assert all("particular. " in texts[example.sample] for example in counted(door).examples)
        assert not any(one.touched_count for one in door.ledger().overlaps() if one.task != "gsm8k")

    def test_counts_what_is_taken_only(self, leaking, sets):
        """A document that was read ahead and not used is not in the counts, as it is not in the ledger."""
        door = DataDoor(leaking, evaluation=sets)
        reading = door.reading("c4")
        for number, sample in enumerate(reading):
            if number == 0:
                reading.account(sample)
        assert counted(door).sample_count <= 1
        assert door.ledger().entries[0].sample_count == 1

    def test_looks_at_prompt_and_answer(self, rules, write, sets):
        """A question in the prompt with its answer is found, also when only both together are the item."""
        item = next(text for text in sets.texts() if text.task == "gsm8k")
        row = {"instruction": item.segments[0], "input": "", "output": item.segments[1]}
        path = write("alpaca.jsonl", [row] * 64)
        door = DataDoor(DoorSettings(rules=rules, local={"alpaca": str(path)}), evaluation=sets)
        for split in ("train", "validation"):
            for _ in door.open("alpaca", split=split):
                pass
        assert (counted(door).held_count, counted(door).sample_count) == (1, 64)

    def test_without_sets_it_only_reads(self, leaking):
        """The judge's own reading, and a run whose edition has no clause, count nothing."""
        door = DataDoor(leaking)
        next(door.open("c4"))
        assert door.ledger().overlaps() == ()

    def test_the_ledger_is_the_same_with_and_without(self, leaking, sets):
        """Looking changes nothing of what is filed about the reading."""
        ledgers = []
        for evaluation in (None, sets):
            door = DataDoor(leaking, evaluation=evaluation)
            list(door.open("c4"))
            ledgers.append(door.ledger().plain_entries())
        assert ledgers[0] == ledgers[1]


class TestKilled:
    def pack(self, settings, sets, tokenizer, path, progress=lambda *_: None):
        door = DataDoor(settings, evaluation=sets)
        request = {"window_tokens": 64, "window_count": 200, "seed": 0, "path": path, "progress": progress}
        pack(door, {"c4": 1}, tokenizer, **request)
        return door.ledger()

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
    def test_counts_the_same_after_a_kill(self, leaking, sets, tokenizer, tmp_path, share):
        """Killed anywhere and begun again, a reading files what it would have filed; finished, it is not read again."""
        whole = self.pack(leaking, sets, tokenizer, tmp_path / "whole")
        child = os.fork()
        if child == 0:

            def kill(_label, done, total, _detail=""):
                if done >= share * total:
                    os.kill(os.getpid(), signal.SIGKILL)

            self.pack(leaking, sets, tokenizer, tmp_path / "killed", progress=kill)
            os._exit(0)
        assert os.waitpid(child, 0)[1] in {0, signal.SIGKILL}
        resumed = self.pack(leaking, sets, tokenizer, tmp_path / "killed")
        assert resumed == whole
        assert resumed.overlaps() == whole.overlaps()
        assert sum(one.held_count for one in whole.overlaps()) > LEAKED / 2
        again = self.pack(leaking, sets, tokenizer, tmp_path / "killed", progress=lambda *_: pytest.fail("read again"))
        assert again.overlaps() == whole.overlaps()

    def test_recorded_and_read_passes_add_up(self, leaking, sets):
        """What an earlier process read and what this one reads are counted together, in that order."""
        earlier = DataDoor(leaking, evaluation=sets)
        list(earlier.open("c4"))
        door = DataDoor(leaking, evaluation=sets)
        door.record(Ledger.model_validate_json(earlier.ledger().model_dump_json()))
        list(door.open("c4"))
        assert counted(door).held_count == counted(earlier).held_count
        assert counted(door).sample_count == 2 * counted(earlier).sample_count


class TestEvaluationSets:
    def test_an_unscored_task_may_be_absent(self, folder, tmp_path):
        """A folder of two sets is enough for a run that scores two; a scored one that is not there is an error."""
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        (tmp_path / "data" / "gsm8k" / "test.jsonl").unlink()
        edition = tuple(load_edition("demo").tasks)
        sets = EvaluationSets.of(tmp_path, edition, scored=("bbh",))
        assert set(sets.tasks) == set(edition) - {"gsm8k"}
        with pytest.raises(UsageError, match=r"gsm8k/test\.jsonl"):
            EvaluationSets.of(tmp_path, edition, scored=("gsm8k",))

    def test_which_are_scored_is_not_part_of_the_digest(self, folder):
        """A step that was done for two tasks is not done again for six."""
        assert EvaluationSets.of(folder, TASKS, scored=()) == EvaluationSets.of(folder, TASKS, scored=TASKS)

    def test_changed_sets_are_refused(self, folder, tmp_path):
        """A worker counts against the very text that the step is named by."""
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        sets = EvaluationSets.of(tmp_path, TASKS, scored=TASKS)
        assert sets.texts() == evaluation_texts(tmp_path, sets.tasks)
        path = tmp_path / "data" / "gsm8k" / "test.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
        with pytest.raises(UsageError, match="not those that the run began with"):
            sets.texts()
