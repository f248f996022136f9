"""The evaluation sets on disk: which files each task reads, whether they are there, and their digest.

    <folder>/data/gsm8k/{train,test}.jsonl ──> digest of the task: names and contents of its files

OpenCompass downloads what is missing, and scores what it finds under a name. Here a missing file ends the evaluation
before anything runs, and the digest is part of the key that a result is kept under.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

FILES = {
    "commonsense_qa": ("data/commonsenseqa/train_rand_split.jsonl", "data/commonsenseqa/dev_rand_split.jsonl"),
    "chid": ("data/FewCLUE/chid/test_public.json",),
    "humaneval": ("data/humaneval/human-eval-v2-20210705.jsonl",),
    "gsm8k": ("data/gsm8k/train.jsonl", "data/gsm8k/test.jsonl"),
    "truthful_qa": ("truthful_qa/generation/validation.jsonl",),
}
"""Task to the files that it cannot do without."""
FOLDERS = {
    "bbh": (("data/BBH/data", "*.json"),),
    "mmlu": (("data/mmlu/dev", "*_dev.csv"), ("data/mmlu/test", "*_test.csv")),
    "ceval": (
        ("data/ceval/formal_ceval/dev", "*_dev.csv"),
        ("data/ceval/formal_ceval/val", "*_val.csv"),
        ("data/ceval/formal_ceval/test", "*_test.csv"),
    ),
}
"""Task to the folders that hold a file for each of its data sets, and what these are called."""
OPTIONAL = {"chid": ("data/FewCLUE/chid/dev_few_all.json",)}
"""Files that the loaders read where they are there."""
SOURCE = (
    "The files are those of OpenCompass's data release (OpenCompassData-core-20240207.zip), unpacked so that its "
    "folder data/ stands in the given folder; truthful_qa is the validation split of the hub's truthful_qa, "
    "configuration generation, as JSON lines. What ends in .json under FewCLUE holds JSON lines too"
)


def files_of(task: str, folder: Path) -> tuple[Path, ...]:
    """The files that ``task`` reads below ``folder``, in a fixed order.

    Raises:
        UsageError: one of them is missing or empty; the message says where it is expected and what it is.
    """
    fixed = [folder / name for name in FILES.get(task, ())]
    _require(task, folder, (path for path in fixed if not path.is_file() or path.stat().st_size == 0))
    optional = [path for path in (folder / name for name in OPTIONAL.get(task, ())) if path.is_file()]
    found = [path for name, pattern in FOLDERS.get(task, ()) for path in sorted((folder / name).glob(pattern))]
    named = ((folder / name, pattern) for name, pattern in FOLDERS.get(task, ()))
    _require(task, folder, (where / pattern for where, pattern in named if not any(where.glob(pattern))))
    return (*fixed, *optional, *found)


def data_digest(task: str, folder: Path, digest_of_file: Callable[[Path], str]) -> tuple[tuple[str, str], ...]:
    """Name and digest of each file that ``task`` reads below ``folder``; raises as ``files_of``."""
    return tuple((path.relative_to(folder).as_posix(), digest_of_file(path)) for path in files_of(task, folder))


def _require(task: str, folder: Path, missing: Iterable[Path]) -> None:
    lacking = list(missing)
    if lacking:
        shown = "".join(f"\n    {path}" for path in lacking)
        raise UsageError(f"task {task!r}: its data is missing or empty in {folder}; expected{shown}\n  {SOURCE}")
