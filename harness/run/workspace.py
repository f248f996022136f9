"""The workspace: steps addressed by the digest of everything they depend on.

::

    .harness/
      steps/<key>/           a finished step: record.json, output/ (a checkpoint, if it makes one), log.txt
      steps/<key>.partial/   an unfinished one: work/ survives a kill and is resumed from
      runs/<run>/run.json    what was asked
      looks.jsonl            every look at a scored task, chained

A step is finished by one rename, after everything in it has been flushed to the disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from typing import TYPE_CHECKING

from pydantic import JsonValue, ValidationError

from harness.document import Document, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class FileStamp(Document):
    """How a file looked when its step was finished; a file that looks the same is not read again.

    What a copy of the workspace keeps, and no more: a step that was moved to another disk is still done. Who measures
    a checkpoint asks ``harness.run.digests``, which also sees a file that was swapped with its times restored.
    """

    name: str
    size_bytes: int
    modified_ns: int


class StepRecord(Document):
    """What is kept of a finished step."""

    key: str
    depends_on: dict[str, JsonValue]
    """Everything that went into the key."""
    value: JsonValue
    """The result, as the step's kind defines it."""
    duration_s: float
    peak_memory_bytes: int
    files: tuple[FileStamp, ...] = ()
    """The files of ``output``."""


class Workspace:
    """A folder of finished and unfinished steps."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def looks(self) -> Path:
        """The ledger of looks at scored tasks."""
        return self.root / "looks.jsonl"

    @property
    def packages(self) -> Path:
        """The packages that were measured on the edge runtime, by checkpoint, code and settings."""
        return self.root / "packages"

    def folder(self, key: str) -> Path:
        """Where the step of that key stands when it is finished."""
        return self.root / "steps" / key

    def output(self, key: str) -> Path:
        """Where its checkpoint stands."""
        return self.folder(key) / "output"

    def partial(self, key: str) -> Path:
        """Where it stands while it is not finished; made if need be."""
        folder = self.root / "steps" / f"{key}.partial"
        (folder / "work").mkdir(parents=True, exist_ok=True)
        return folder

    def finished(self, key: str) -> StepRecord | None:
        """The record of the step, or None where it is not finished or its files were touched since."""
        try:
            record = StepRecord.read(self.folder(key) / "record.json")
        except (OSError, ValidationError):
            return None
        return record if record.files == stamps(self.output(key)) else None

    def finish(self, record: StepRecord, made: Path | None) -> StepRecord:
        """Turn the partial step into a finished one; ``made`` is the checkpoint's folder inside it."""
        partial = self.partial(record.key)
        if made is not None:
            shutil.rmtree(partial / "output", ignore_errors=True)  # of a try that was killed right here
            made.rename(partial / "output")
            flush(partial / "output")
        shutil.rmtree(partial / "work", ignore_errors=True)
        record = record.model_copy(update={"files": stamps(partial / "output")})
        record.write(partial / "record.json")
        final = self.folder(record.key)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        sync_folder(final.parent)
        return record

    @contextlib.contextmanager
    def claimed(self, key: str) -> Iterator[None]:
        """Hold the step's lock, so that two runs on one workspace do each step once."""
        locks = self.root / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with (locks / key).open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def stamps(folder: Path) -> tuple[FileStamp, ...]:
    """The files of ``folder`` as they look now; empty where there is none."""
    if not folder.is_dir():
        return ()
    entries = sorted(entry for entry in folder.iterdir() if entry.is_file())
    return tuple(
        FileStamp(name=entry.name, size_bytes=entry.stat().st_size, modified_ns=entry.stat().st_mtime_ns)
        for entry in entries
    )


def flush(folder: Path) -> None:
    """Flush every file of ``folder`` to the disk."""
    for entry in folder.iterdir():
        with entry.open("rb") as stream:
            os.fsync(stream.fileno())
    sync_folder(folder)
