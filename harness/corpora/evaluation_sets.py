"""The text of the scored tasks, as far as training on it would be a leak: questions, passages, programs.

COMPASS_DATA_CACHE/                                                  text of an item
  data/commonsenseqa/dev_rand_split.jsonl                            the question
  data/BBH/data/<subset>.json                                        the input
  data/gsm8k/test.jsonl                                              question and answer
  data/humaneval/human-eval-v2-20210705.jsonl                        prompt and canonical solution
  data/FewCLUE/chid/{dev_few_all,test_public}.json                   the passage, cut at its blanks
  truthful_qa/generation/validation.jsonl                            question and best answer
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_BLANK = re.compile(r"#idiom\d*#")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationText:
    """One item of a scored task."""

    task: str
    """Its name in the edition."""
    item: str
    """Where it stands: ``test.jsonl:12``."""
    segments: tuple[str, ...]
    """Its text; nothing is looked for across two segments."""


def evaluation_texts(folder: Path) -> tuple[EvaluationText, ...]:
    """Every scored item below ``folder``, laid out as OpenCompass looks them up.

    Raises:
        UsageError: a task's file is missing, or holds something else than its items.
    """
    return tuple(text for task, path, read in _sources(folder) for text in _read(task, path, read))


def _sources(folder: Path) -> Iterator[tuple[str, Path, Callable[[Any], tuple[str, ...]]]]:
    data = folder / "data"
    yield "commonsense_qa", data / "commonsenseqa" / "dev_rand_split.jsonl", lambda row: (row["question"]["stem"],)
    yield "gsm8k", data / "gsm8k" / "test.jsonl", lambda row: (row["question"], row["answer"])
    yield "humaneval", data / "humaneval" / "human-eval-v2-20210705.jsonl", _program
    for name in ("dev_few_all.json", "test_public.json"):
        yield "chid", data / "FewCLUE" / "chid" / name, lambda row: tuple(_BLANK.split(row["content"]))
    yield "truthful_qa", folder / "truthful_qa" / "generation" / "validation.jsonl", _truth
    subsets = sorted((data / "BBH" / "data").glob("*.json"))
    for path in subsets or [data / "BBH" / "data" / "*.json"]:
        yield "bbh", path, lambda row: (row["input"],)


def _program(row: Any) -> tuple[str, ...]:  # noqa: ANN401 - a row of JSON, read field by field
    return (row["prompt"], row["canonical_solution"]) if "canonical_solution" in row else (row["prompt"],)


def _truth(row: Any) -> tuple[str, ...]:  # noqa: ANN401 - a row of JSON, read field by field
    return (row["question"], row["best_answer"]) if "best_answer" in row else (row["question"],)


def _read(task: str, path: Path, read: Callable[[Any], tuple[str, ...]]) -> Iterator[EvaluationText]:
    try:
        for number, row in enumerate(_rows(path), start=1):
            yield EvaluationText(task=task, item=f"{path.name}:{number}", segments=read(row))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path}: expected the items of {task} as OpenCompass reads them, found {type(error).__name__}: {error}"
        ) from error


def _rows(path: Path) -> list[Any]:
    text = path.read_text(encoding="utf-8")
    if path.parent.parent.name == "BBH":
        examples: list[Any] = json.loads(text)["examples"]
        return examples
    return [json.loads(line) for line in text.splitlines() if line.strip()]
