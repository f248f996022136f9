"""Data is looked for before anything runs, and what is missing is named with its place."""

from __future__ import annotations

import pytest

from harness.checkpoint.checkpoint import sha256_of
from harness.errors import UsageError
from harness.judge import task_data
from harness.judge.task_data import data_digest, files_of
from harness.pico import tasks as demo_tasks
from harness.rules.edition import load_edition
from harness.toolchains.opencompass.worker import task_data as worker_side


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("demo")
    demo_tasks.write(made)
    return made


class TestFiles:
    def test_the_worker_expects_the_same(self):
        """Both sides of the border have the same table, although they share no code."""
        assert set(worker_side.FILES.items()) <= set(task_data.FILES.items())
        assert task_data.FOLDERS["bbh"][0][0] == worker_side.BBH_FOLDER

    @pytest.mark.parametrize("edition", ["demo", "neurips-2024"])
    def test_every_task_of_every_edition_is_known(self, edition):
        """A task without files would have no digest, and its results would never be made anew."""
        rules = load_edition(edition)
        assert {*rules.tasks, *rules.hold_out_tasks} <= set(task_data.FILES) | set(task_data.FOLDERS)

    @pytest.mark.parametrize("task", list(load_edition("demo").tasks))
    def test_the_demo_has_them(self, folder, task):
        """All of them are there, below the folder."""
        assert all(path.is_file() for path in files_of(task, folder))

    @pytest.mark.parametrize(
        ("task", "expected"), [("gsm8k", "data/gsm8k/train.jsonl"), ("bbh", "data/BBH/data/*.json")]
    )
    def test_a_missing_file_is_named(self, tmp_path, task, expected):
        """Where it is expected, and where it comes from."""
        with pytest.raises(UsageError, match=r"OpenCompassData-core") as raised:
            files_of(task, tmp_path)
        assert str(tmp_path / expected) in str(raised.value)

    def test_an_empty_file_is_missing(self, tmp_path):
        """A file that a download left behind scores nothing."""
        path = tmp_path / "data/FewCLUE/chid/test_public.json"
        path.parent.mkdir(parents=True)
        path.touch()
        with pytest.raises(UsageError, match="missing or empty"):
            files_of("chid", tmp_path)


class TestDataDigest:
    def test_of_a_task_is_that_of_its_own_files(self, folder):
        """Another task's data does not touch it."""
        names = {task: {name for name, _ in data_digest(task, folder, sha256_of)} for task in ("gsm8k", "bbh")}
        assert names["gsm8k"] == {"data/gsm8k/train.jsonl", "data/gsm8k/test.jsonl"}
        assert not names["gsm8k"] & names["bbh"]
