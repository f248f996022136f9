"""The bundle: the folder that is filed, written whole or not at all, the same bytes for the same inputs.

    submissions/<track>/<date>-<team>-<plugin>/
      README.md           for people                    recipe.json   recipe and options as run
      Results.csv         the competition's columns     ledger.json   what was read, by step
      models/<name>.json  one base model each           lock.json     versions, seeds, digests
      items/<...>.jsonl.gz  every item                  submission.json  the manifest: every file above by digest

Weights are referenced by digest and never copied. No file names a path of the machine that it was made on.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pydantic import ValidationError

from harness.document import Document, sync_folder
from harness.errors import UsageError
from harness.submission import layout, page, results_csv
from harness.submission.file_record import FileRecord
from harness.submission.provenance import LedgerRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from harness.rules.edition import Edition
    from harness.submission.measurements import TaskScore
    from harness.submission.model_result import CheckpointResult, ModelResult
    from harness.submission.provenance import Lock, RecipeRecord
    from harness.submission.schema import Submission


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Everything that a bundle is written from."""

    submission: Submission
    """Its ``files`` are filled in by ``write``."""
    recipe: RecipeRecord
    ledger: LedgerRecord
    lock: Lock
    edition: Edition
    items: Mapping[str, bytes] = field(default_factory=dict)
    """Files of items by the name that a task score has as its ``items_file``."""
    report: bytes | None = None
    """``report.html``, once there are findings to make it from."""


def write(bundle: Bundle, folder: Path) -> Path:
    """Write the bundle as ``folder``, beside first and then renamed; a bundle of the same name is replaced.

    Raises:
        UsageError: ``folder`` is not named by the submission's id, or is something else than a bundle.
    """
    if folder.name != bundle.submission.id:
        raise UsageError(f"{folder}: the folder of a bundle is named by its id, {bundle.submission.id!r}")
    _refuse_strangers(folder)
    files = contents(bundle)
    beside = folder.with_name(f".{folder.name}.partial")
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(beside, ignore_errors=True)
    _write_files(beside, files)
    _put_in_place(beside, folder)
    return folder


def with_items(bundle: Bundle, find: Callable[[str, str], bytes | None]) -> Bundle:
    """``bundle`` with the file of items of every score that has one.

    Args:
        bundle: as it is without.
        find: checkpoint digest and task to the content of the file.
    """
    files: dict[str, bytes] = {}

    def filed(model: ModelResult, result: CheckpointResult, score: TaskScore) -> TaskScore:
        content = find(result.checkpoint.checkpoint_digest, score.task)
        if content is None:
            return score
        name = layout.items_file(model.name, result.role, score.task)
        files[name] = content
        return score.model_copy(update={"items_file": name})

    models = tuple(_with_scores(model, filed) for model in bundle.submission.models)
    return replace(bundle, submission=bundle.submission.model_copy(update={"models": models}), items=files)


def _with_scores(
    model: ModelResult, change: Callable[[ModelResult, CheckpointResult, TaskScore], TaskScore]
) -> ModelResult:
    results = []
    for result in model.checkpoints:
        evaluation = result.measurements.evaluation
        if evaluation is not None:
            tasks = tuple(change(model, result, score) for score in evaluation.tasks)
            measured = {"evaluation": evaluation.model_copy(update={"tasks": tasks})}
            result = result.model_copy(update={"measurements": result.measurements.model_copy(update=measured)})  # noqa: PLW2901
        results.append(result)
    return model.model_copy(update={"checkpoints": tuple(results)})


def is_filed(bundle: Bundle, folder: Path) -> bool:
    """Whether ``folder`` already holds this very bundle; a report or a signature beside it may have been added.

    Looks that were taken after it was filed do not make it another one.
    """
    then = _as_of(bundle, folder)
    pages = (then.report, None, _page(folder))
    return any(_holds_all(folder, replace(then, report=page)) for page in dict.fromkeys(pages))


def _page(folder: Path) -> bytes | None:
    """The page that stands in ``folder``: what it says follows from the rest, so another one is no other entry."""
    path = folder / layout.REPORT
    return path.read_bytes() if path.is_file() and not path.is_symlink() else None


def _holds_all(folder: Path, bundle: Bundle) -> bool:
    return all(_holds(folder / name, content) for name, content in contents(bundle).items())


def _as_of(bundle: Bundle, folder: Path) -> Bundle:
    """``bundle`` with the looks that the one in ``folder`` has, where they are the first of its own."""
    try:
        filed = LedgerRecord.read(folder / layout.LEDGER).looks
    except (OSError, ValidationError):
        return bundle
    if filed != bundle.ledger.looks[: len(filed)]:
        return bundle
    return replace(bundle, ledger=bundle.ledger.model_copy(update={"looks": filed}))


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and not path.is_symlink() and path.read_bytes() == content


def contents(bundle: Bundle) -> dict[str, bytes]:
    """Every file of the bundle by its name, in the order of writing: the manifest is last.

    Raises:
        UsageError: the edition states a unit that is not known.
    """
    submission = bundle.submission
    documents: dict[str, Document] = {
        layout.RECIPE: bundle.recipe,
        layout.LEDGER: bundle.ledger,
        layout.LOCK: bundle.lock,
        **{layout.model_file(model.name): model for model in submission.models},
    }
    files = {name: _json(document) for name, document in documents.items()} | dict(bundle.items)
    files[layout.RESULTS] = results_csv.render(submission.mean, bundle.edition).encode()
    files[layout.README] = page.render(submission, bundle.recipe, bundle.edition).encode()
    if bundle.report is not None:
        files[layout.REPORT] = bundle.report
    manifest = submission.model_copy(update={"files": file_records(files)})
    files[layout.SUBMISSION] = _json(manifest)
    return files


def file_records(files: Mapping[str, bytes]) -> tuple[FileRecord, ...]:
    """What the manifest says about ``files``, sorted by name."""
    return tuple(_record(name, files[name]) for name in sorted(files))


def _record(name: str, content: bytes) -> FileRecord:
    return FileRecord(name=name, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _json(document: Document) -> bytes:
    return (document.model_dump_json(indent=2) + "\n").encode()


def _refuse_strangers(folder: Path) -> None:
    """Only a bundle is ever replaced: what else stands there belongs to somebody."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"{folder}: stands in the way of the bundle and is no folder; move it away")
    strangers = [name for name in _names(folder) if not layout.belongs(name)]
    if strangers:
        raise UsageError(f"{folder}: holds {strangers[0]!r}, which is no file of a bundle; move it away")


def _names(folder: Path) -> Iterable[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
    sync_folder(folder)


def _put_in_place(beside: Path, folder: Path) -> None:
    """Rename ``beside`` to ``folder``; what stood there is moved aside first and removed afterwards."""
    aside = folder.with_name(f".{folder.name}.replaced")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
    beside.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)
