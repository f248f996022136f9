"""Where each task's data must lie, checked and counted before anything runs.

    task            files below the data folder
    commonsense_qa  data/commonsenseqa/{train,dev}_rand_split.jsonl      dev is scored, both must exist
    chid            data/FewCLUE/chid/test_public.json                   JSON lines in spite of the name
    humaneval       data/humaneval/human-eval-v2-20210705.jsonl
    bbh             data/BBH/data/<subset>.json                          one JSON object with `examples`
    gsm8k           data/gsm8k/{train,test}.jsonl                        test is scored, both must exist
    truthful_qa     truthful_qa/generation/validation.jsonl
    mmlu            data/mmlu/{dev,test}/<subset>_{dev,test}.csv         six columns and no header
    ceval           data/ceval/formal_ceval/{dev,test,val}/<subset>_….csv    a header; val is scored, all must exist

OpenCompass would download a missing file; here a missing file ends the evaluation with the path that was expected.
"""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

from .channel import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FILES = {
    "commonsense_qa": ("data/commonsenseqa/train_rand_split.jsonl", "data/commonsenseqa/dev_rand_split.jsonl"),
    "chid": ("data/FewCLUE/chid/test_public.json",),
    "humaneval": ("data/humaneval/human-eval-v2-20210705.jsonl",),
    "gsm8k": ("data/gsm8k/train.jsonl", "data/gsm8k/test.jsonl"),
    "truthful_qa": ("truthful_qa/generation/validation.jsonl",),
}
"""Per task its files, the scored one last; for tasks of many subsets see ``subset_files``."""

MANY = {
    "bbh": ("data/BBH/data/{}.json",),
    "mmlu": ("data/mmlu/dev/{}_dev.csv", "data/mmlu/test/{}_test.csv"),
    "ceval": tuple(f"data/ceval/formal_ceval/{split}/{{}}_{split}.csv" for split in ("dev", "test", "val")),
}
"""Per task the files of a subset, the scored one last."""
HEADED = "ceval"
"""Part of the paths of those tables whose first row names the columns."""

BBH_FOLDER = "data/BBH/data"


def subset_files(task: str, subset: str) -> tuple[str, ...]:
    """The files of one subset of ``task`` below the data folder, the scored one last."""
    return tuple(name.format(subset) for name in MANY[task]) if task in MANY else FILES[task]


def bbh_file(subset: str) -> str:
    """Path of a BBH subset below the data folder."""
    return f"{BBH_FOLDER}/{subset}.json"


def present_bbh_subsets(data_dir: Path, known: Sequence[str]) -> tuple[str, ...]:
    """Those of ``known`` that have a file; a file of another name, or none at all, is a failure."""
    folder = data_dir / BBH_FOLDER
    found = sorted(path.stem for path in folder.glob("*.json"))
    if unknown := sorted(set(found) - set(known)):
        raise Failure(f"{folder}: no such BBH subset: {', '.join(unknown)}")
    if not found:
        raise Failure(f"no BBH subset in {folder}: expected files such as {known[0]}.json")
    return tuple(found)


def count_rows(data_dir: Path, files: Sequence[str], limit: int | None) -> int:
    """Rows that will be scored: of the last of ``files``, at most ``limit``; every file must exist and hold a row."""
    counts = [_rows(data_dir / file) for file in files]
    return counts[-1] if limit is None else min(counts[-1], limit)


def _rows(path: Path) -> int:
    if not path.is_file():
        raise Failure(f"task data missing: expected {path}")
    try:
        rows = _counter(path)(path)
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise Failure(f"task data unreadable: {path}: {error}") from error
    if rows == 0:
        raise Failure(f"task data empty: {path}")
    return rows


def _counter(path: Path) -> Callable[[Path], int]:
    if path.suffix == ".csv":
        return _table_rows
    return _bbh_rows if path.parent.name == "data" else _line_rows


def _table_rows(path: Path) -> int:
    with path.open(encoding="utf-8", newline="") as stream:
        return sum(1 for _ in csv.reader(stream)) - (HEADED in path.parts)


def _bbh_rows(path: Path) -> int:
    return len(json.loads(path.read_text(encoding="utf-8"))["examples"])


def _line_rows(path: Path) -> int:
    with path.open(encoding="utf-8") as stream:
        return sum(1 for line in stream if json.loads(line) is not None)
