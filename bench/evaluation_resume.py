"""Kill an evaluation at random moments, run it again, and hold the results against those of an uninterrupted run.

    python bench/evaluation_resume.py [MODEL] [--kills 10] [--tasks gsm8k,chid,bbh] [--limit 20] [--seed 0]

Every kill has a workspace of its own: SIGKILL to the whole tree of processes at a moment drawn evenly from the time
that the uninterrupted run took, then the same command once more, to its end. Equal means: every score, every count, and
the bytes of every file of items. Prints a table in Markdown, and ends with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

HARNESS = (sys.executable, "-c", "import sys; from harness.cli.app import run; sys.exit(run(sys.argv[1:]))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One kill and what became of it."""

    killed_at_s: float
    had_ended: bool
    batches_kept: int
    """Lines of the journal that the kill left."""
    again_s: float
    looks: int
    equal: bool


def main() -> int:
    """Run the bench; returns the exit code."""
    options = _options()
    words = ("evaluate", options.model, "--tasks", options.tasks, "--limit", str(options.limit), "--quiet", "--json")
    with tempfile.TemporaryDirectory(prefix="evaluation-resume-") as folder:
        root = Path(folder)
        _evaluate(words, root / "warm-up")  # provisions the engine, fills the page cache
        started = time.monotonic()
        expected = _evaluate(words, root / "whole")
        whole_s = time.monotonic() - started
        print(f"uninterrupted: {whole_s:.1f} s, {len(expected)} tasks of {options.model}, {options.limit} items each\n")
        print(
            "| killed after, s | journal lines kept | run again, s | looks | equal |\n|---|---|---|---|---|", flush=True
        )
        moments = random.Random(options.seed)
        trials = [
            _trial(words, root / f"killed-{number}", moments.uniform(0, whole_s), expected)
            for number in range(options.kills)
        ]
    equal = sum(trial.equal for trial in trials)
    print(f"\n{equal} of {len(trials)} equal; {sum(trial.had_ended for trial in trials)} had ended before the kill")
    return 0 if equal == len(trials) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="pico-llama")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--tasks", default="gsm8k,chid,bbh")
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    return parser.parse_args()


def _trial(words: tuple[str, ...], workspace: Path, moment_s: float, expected: dict[str, Any]) -> Trial:
    process = subprocess.Popen([*HARNESS, *words], env=_environment(workspace), stdout=subprocess.DEVNULL)
    had_ended = _ended_within(process, moment_s)
    _kill_tree(process)
    journals = list(workspace.glob("journals/*/batches/**/*.jsonl"))
    kept = sum(len(path.read_bytes().splitlines()) for path in journals)
    started = time.monotonic()
    found = _evaluate(words, workspace)
    again_s = time.monotonic() - started
    trial = Trial(
        killed_at_s=moment_s,
        had_ended=had_ended,
        batches_kept=kept,
        again_s=again_s,
        looks=len((workspace / "looks.jsonl").read_bytes().splitlines()),
        equal=found == expected,
    )
    print(
        f"| {trial.killed_at_s:.1f} | {trial.batches_kept} | {trial.again_s:.1f} | {trial.looks} | {trial.equal} |",
        flush=True,
    )
    return trial


def _ended_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the command and to everything that it started, all at once and without a chance to tidy up."""
    if process.poll() is None:
        parent = psutil.Process(process.pid)
        tree = [parent, *parent.children(recursive=True)]
        for one in tree:
            if one.is_running():
                one.kill()
        psutil.wait_procs(tree[1:], timeout=10)
    process.wait()


def _evaluate(words: tuple[str, ...], workspace: Path) -> dict[str, Any]:
    """Run to the end; by task the score, and the digest of the items' bytes."""
    done = subprocess.run([*HARNESS, *words], env=_environment(workspace), stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise SystemExit(f"harness {' '.join(words)} ended with {done.returncode}")
    answer = json.loads(done.stdout)
    return {
        f"{model['label']} {line['score']['task']}": [line["score"], _digest(line["items"])]
        for model in answer["models"]
        for line in model["tasks"]
    }


def _digest(path: str | None) -> str | None:
    return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _environment(workspace: Path) -> dict[str, str]:
    return {**os.environ, "HARNESS_WORKSPACE": str(workspace)}


if __name__ == "__main__":
    sys.exit(main())
