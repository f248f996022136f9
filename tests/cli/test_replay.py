"""``harness replay``: what it says, and what it leaves behind."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from harness.cli import replay, show
from harness.run import replay as running
from harness.run.differing import Spot
from tests.validation.make import make

SPOT = Spot(
    file="model.safetensors", change="changed", tensor="lm_head.weight", index=7, byte_offset=99, then="0.5", now="0.25"
)
STEP = {"model": "llama", "step": "2 train lora", "then": "1" * 64, "now": "2" * 64}


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    return make(tmp_path_factory.mktemp("entry"))


@pytest.fixture
def outcome(monkeypatch):
    """What the rerun comes to, in place of running it; the run itself is tested beside ``harness.run.replay``."""

    def comes_to(spot=None, *, same, changes=()):
        first = None if same else running.FirstDifference(model="llama", step="2 train lora", spot=spot)
        steps = (running.ReplayedStep(**STEP, same=same),)
        found = running.Replay(changes=changes, steps=steps, first=first)

        def prepared(lock, asked, workspace):
            (workspace.root / "steps").mkdir(parents=True)
            return running.Rerun(lock=lock, asked=asked, models=(), changes=changes)

        monkeypatch.setattr(running, "prepare_replay", prepared)
        monkeypatch.setattr(running, "rerun", lambda _prepared, _observer: found)

    return comes_to


@pytest.fixture
def harness(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    replay.register(app)
    show.register(app)

    def run(*words):
        return CliRunner().invoke(app, ["replay", *map(str, words)], env={"COLUMNS": "200"})

    return run


class TestReplay:
    def test_identical_leaves_nothing_behind(self, harness, entry, outcome, tmp_path):
        """Exit code 0; the folder that it ran in is gone."""
        outcome(same=True)
        shown = harness(entry.path)
        assert shown.exit_code == 0, shown.exception
        assert "as they were" in shown.stdout
        assert "identical" in shown.stdout
        assert not list((tmp_path / ".harness" / "replays").iterdir())

    def test_a_difference_is_one_sentence_and_stays(self, harness, entry, outcome, tmp_path):
        """Step, tensor, element, byte, then and now; exit code 4; the rerun can be looked at."""
        change = running.Change(what="torch", then="2.13.0", now="2.12.0")
        outcome(SPOT, same=False, changes=(change,))
        shown = harness(entry.path)
        assert shown.exit_code == 4
        assert shown.stdout.index("torch") < shown.stdout.index("first difference")
        for word in ("step 2 train lora", "tensor lm_head.weight[7]", "byte 99", "0.5 then, 0.25 now"):
            assert word in shown.stdout
        assert (tmp_path / ".harness" / "replays" / "1").is_dir()

    def test_says_how_the_tensor_becomes_known(self, harness, entry, outcome):
        """Without the original checkpoint."""
        outcome(same=False)
        assert "--originals FOLDER" in harness(entry.path).stdout

    def test_json_is_one_document(self, harness, entry, outcome):
        """For scripts, with the verdict."""
        outcome(SPOT, same=False)
        told = json.loads(harness(entry.path / "lock.json", "--json").stdout)
        assert told["identical"] is False
        assert told["first"]["spot"]["byte_offset"] == 99
