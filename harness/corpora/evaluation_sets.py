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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from harness.document import Document, digest_of
from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TASKS: Final = ("commonsense_qa", "gsm8k", "humaneval", "chid", "truthful_qa", "bbh")
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


class EvaluationSets(Document):
    """The scored tasks' sets on the disk, as a worker is told of them."""

    folder: str
    tasks: tuple[str, ...]
    """Names in the edition, of the tasks whose sets are looked at."""
    digest: str
    """SHA-256 over the text of all items, hexadecimal: what counts of overlaps depend on."""

    @classmethod
    def of(cls, folder: Path, tasks: Sequence[str], *, scored: Sequence[str]) -> Self:
        """The sets below ``folder`` of those of ``tasks`` that stand there; all of those that are ``scored`` have to.

        Raises:
            UsageError: as ``evaluation_texts``, for a scored task.
        """
        chosen = tuple(sorted(task for task in tasks if task in scored or _stands(folder, task)))
        return cls(folder=str(folder.resolve()), tasks=chosen, digest=_digest(evaluation_texts(folder, chosen)))

    def texts(self) -> tuple[EvaluationText, ...]:
        """Every item; raises ``UsageError`` where they are not what they were."""
        texts = evaluation_texts(Path(self.folder), self.tasks)
        if _digest(texts) != self.digest:
            raise UsageError(
                f"{self.folder}: the evaluation sets are not those that the run began with; start the run again"
            )
        return texts


def evaluation_texts(folder: Path, tasks: Sequence[str] = TASKS) -> tuple[EvaluationText, ...]:
    """Every scored item of ``tasks`` below ``folder``, laid out as OpenCompass looks them up.

    Raises:
        UsageError: a task's file is missing, or holds something else than its items.
    """
    sources = [source for task in tasks for source in _sources(folder, task)]
    return tuple(text for task, path, read in sources for text in _read(task, path, read))


def _digest(texts: Sequence[EvaluationText]) -> str:
    return digest_of([[text.task, text.item, *text.segments] for text in texts])


def _stands(folder: Path, task: str) -> bool:
    return all(path.is_file() for _, path, _ in _sources(folder, task))


def _sources(folder: Path, task: str) -> Iterator[tuple[str, Path, Callable[[Any], tuple[str, ...]]]]:
    data = folder / "data"
    if task == "commonsense_qa":
        yield task, data / "commonsenseqa" / "dev_rand_split.jsonl", lambda row: (row["question"]["stem"],)
    elif task == "gsm8k":
        yield task, data / "gsm8k" / "test.jsonl", lambda row: (row["question"], row["answer"])
    elif task == "humaneval":
        yield task, data / "humaneval" / "human-eval-v2-20210705.jsonl", _program
    elif task == "chid":
        for name in ("dev_few_all.json", "test_public.json"):
            yield task, data / "FewCLUE" / "chid" / name, lambda row: tuple(_BLANK.split(row["content"]))
    elif task == "truthful_qa":
        yield task, folder / "truthful_qa" / "generation" / "validation.jsonl", _truth
    elif task == "bbh":
        subsets = sorted((data / "BBH" / "data").glob("*.json"))
        for path in subsets or [data / "BBH" / "data" / "*.json"]:
            yield task, path, lambda row: (row["input"],)


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
