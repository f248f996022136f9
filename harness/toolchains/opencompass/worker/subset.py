"""One dataset configuration of OpenCompass, ready to run, and what is expected of its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TASK_METRICS = {
    "commonsense_qa": "accuracy",
    "chid": "accuracy",
    "humaneval": "humaneval_pass@1",
    "bbh": "score",
    "gsm8k": "accuracy",
    "truthful_qa": "bleu_acc",
    "mmlu": "accuracy",
    "ceval": "accuracy",
}
"""Task -> the metric of one of its subsets that counts."""

AVERAGED = ("bbh", "mmlu", "ceval")
"""Tasks of many subsets, whose score is the plain mean of their subsets' scores."""

TASK_SCALES = {"truthful_qa": 1}
"""Task -> the score of a perfect model, where it is not 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """What runs as one OpenCompass task."""

    task: str
    name: str
    """OpenCompass's abbreviation, e.g. ``bbh-navigate``."""
    configuration: str
    """Name of the configuration, e.g. ``gsm8k_gen_1d7fe4``."""
    version: str
    """First six digits of OpenCompass's own prompt hash."""
    settings: Any
    """The ``ConfigDict``: reader, inferencer, evaluator."""
    item_count: int
    """Rows in the data, after the limit."""
