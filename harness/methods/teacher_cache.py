"""A teacher's word on every window, asked once and kept on disk: epochs and resumes do not pay it again.

    path/ids.bin             int32   [window_count, T - 1, k]    likeliest tokens, likeliest first
    path/log_p.bin           float16 [window_count, T - 1, k]    their log-probabilities
    path/log_tail.bin        float16 [window_count, T - 1]       log of all others' probability together
    path/teacher.json        what it was made from

The last token of a window has no next one, so a window has ``T - 1`` places. Exactness: the loss over the top k and the
tail lies below that over all tokens, by at most ``distillation.top_k_bound``; FP16 moves a log-probability by at most
2**-11 of itself (``rounding_bound``). The folder is written window by window, and a killed run goes on after the last
whole batch, to the same bytes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import torch
from pydantic import PositiveInt

from harness.document import Document, digest_of, sync_folder
from harness.methods.batches import read_batch
from harness.methods.distillation import FeatureModel, counted_rows
from harness.methods.divergence import CHUNK_LOGITS, TopK, top_k_of
from harness.progress import silent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from harness.corpora.windows import Windows
    from harness.methods.batches import Batch
    from harness.methods.distillation import Features
    from harness.progress import Progress

FP16_STEP: Final = 2.0**-11
"""Largest relative error of rounding to FP16."""
KINDS: Final = {"ids": "int32", "log_p": "float16", "log_tail": "float16"}
LEAST_LOG: Final = -60000.0
"""Stands for the log of nothing, within FP16."""


class TeacherRecord(Document):
    """``teacher.json``."""

    key: str
    """Digest of everything that decides the bytes."""
    window_count: PositiveInt
    window_tokens: PositiveInt
    top_k: PositiveInt
    temperature: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """What is remembered, and how it is made."""

    top_k: int = 32
    temperature: float = 1.0
    batch_windows: int = 16
    """Windows that go through the teacher at once."""
    compute: str = "float32"
    """``float32`` or ``bfloat16``: of the teacher's pass."""


class CachedTeacher:
    """Targets out of a folder, memory-mapped."""

    def __init__(self, path: Path, record: TeacherRecord) -> None:
        """Open the folder that ``record`` describes."""
        self.record = record
        shapes = _shapes(record)
        self._arrays: dict[str, NDArray[Any]] = {
            name: np.memmap(path / f"{name}.bin", dtype=kind, mode="r", shape=(record.window_count, *shapes[name]))
            for name, kind in KINDS.items()
        }

    def of(self, batch: Batch, counted: torch.Tensor) -> _Remembered:
        """See ``harness.methods.distillation.Targets``; raises ``ValueError`` for a batch that says no windows."""
        if batch.indices is None:
            raise ValueError("the batch does not say which windows it holds, so nothing is remembered of it")
        rows = {name: counted_rows(array[batch.indices], counted) for name, array in self._arrays.items()}
        log_p, log_tail = rows["log_p"].float(), rows["log_tail"].float()
        # FP16 has moved the sum off 1; both distributions must have all the mass or equal ones would differ.
        total = torch.logaddexp(log_p.logsumexp(-1), log_tail)
        return _Remembered(
            TopK(rows["ids"].long(), (log_p - total[:, None]).exp(), (log_tail - total).exp()),
        )


@dataclass(frozen=True, slots=True)
class _Remembered:
    whole: TopK

    def rows(self, place: slice) -> TopK:
        return TopK(self.whole.ids[place], self.whole.probabilities[place], self.whole.tail[place])


def remember(  # noqa: PLR0913 - the request of a library function
    teacher: PreTrainedModel,
    windows: Windows,
    settings: CacheSettings,
    *,
    teacher_key: str,
    path: Path,
    progress: Progress = silent,
) -> CachedTeacher:
    """Ask ``teacher`` about every window, unless the folder ``path`` has it already.

    Args:
        teacher: Any device; its answers are kept on disk.
        windows: As the student will be trained on.
        settings: How much is kept.
        teacher_key: Names the teacher: the digest of its checkpoint.
        path: Folder to write, best in a step's workdir.
        progress: Told the windows done.
    """
    record = _record(windows, settings, teacher_key, int(teacher.config.vocab_size))
    if (path / "teacher.json").is_file() and TeacherRecord.read(path / "teacher.json") == record:
        return CachedTeacher(path, record)
    beside = path.with_name(f".{path.name}.partial")
    done = _standing(beside, record, settings.batch_windows)
    with _Appended(beside) as files:
        for start, rows in _asked(teacher, windows, settings, done):
            files.append(rows)
            progress("teacher", min(start + settings.batch_windows, len(windows)), len(windows))
    beside.rename(path)
    record.write(path / "teacher.json")
    return CachedTeacher(path, record)


def rounding_bound(target: TopK, log_q: torch.Tensor, log_q_tail: torch.Tensor) -> torch.Tensor:
    """How far FP16 may move the loss of every row, to first order in 2**-11.

    A log-probability moves by at most ``d = 2**-11 |log p|`` and, as the sum is brought back to 1, by ``max d`` more;
    then ``p (log p - log q)`` moves by ``p (2 max d) (|log p - log q| + 1)``.

    Args:
        target: What was remembered, or what was to be.
        log_q: ``[n, k]`` of the student at the same tokens.
        log_q_tail: ``[n]``.

    Returns:
        ``[n]``, nats.
    """
    p = torch.cat([target.probabilities, target.tail[:, None]], 1).clamp(min=torch.finfo(torch.float32).tiny)
    log_p, others = p.log(), torch.cat([log_q, log_q_tail[:, None]], 1)
    moved = 2 * FP16_STEP * log_p.abs() + 1e-6
    return (p * (moved + (p * moved).sum(-1, keepdim=True)) * ((log_p - others).abs() + 1)).sum(-1)


def _record(windows: Windows, settings: CacheSettings, teacher_key: str, vocabulary: int) -> TeacherRecord:
    key = digest_of([windows.key, teacher_key, settings.batch_windows, settings.compute])
    return TeacherRecord(
        key=key,
        window_count=len(windows),
        window_tokens=int(windows.token_ids.shape[1]),
        top_k=min(settings.top_k, vocabulary),
        temperature=settings.temperature,
    )


def _shapes(record: TeacherRecord) -> dict[str, tuple[int, ...]]:
    places = record.window_tokens - 1
    return {"ids": (places, record.top_k), "log_p": (places, record.top_k), "log_tail": (places,)}


def _standing(folder: Path, record: TeacherRecord, batch_windows: int) -> int:
    """Windows that a killed run has left whole; what goes beyond them, and what belongs to others, is cut off."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / "teacher.partial.json"
    ours = mark.is_file() and TeacherRecord.read(mark) == record
    row_bytes = {name: int(np.prod(shape)) * np.dtype(KINDS[name]).itemsize for name, shape in _shapes(record).items()}
    paths = {name: folder / f"{name}.bin" for name in KINDS}
    counts = [paths[name].stat().st_size // row_bytes[name] if paths[name].is_file() else 0 for name in KINDS]
    done = min(counts) // batch_windows * batch_windows if ours else 0
    for name, path in paths.items():
        path.touch()
        os.truncate(path, done * row_bytes[name])
    record.write(mark)
    return done


class _Appended:
    """The three files, open at their ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._streams = {name: (folder / f"{name}.bin").open("ab") for name in KINDS}

    def __enter__(self) -> Self:
        return self

    def append(self, rows: TopK) -> None:
        """Write the rows of one batch."""
        least = torch.tensor(LEAST_LOG, device=rows.tail.device)
        values = (rows.ids, rows.probabilities.log().maximum(least), rows.tail.log().maximum(least))
        for (name, kind), value in zip(KINDS.items(), values, strict=True):
            self._streams[name].write(value.cpu().numpy().astype(kind).tobytes())

    def __exit__(self, *error: object) -> None:
        for stream in self._streams.values():
            stream.flush()
            os.fsync(stream.fileno())
            stream.close()
        if error[0] is None:
            (self._folder / "teacher.partial.json").unlink()
            sync_folder(self._folder)


@torch.no_grad()
def _asked(
    teacher: PreTrainedModel, windows: Windows, settings: CacheSettings, done: int
) -> Iterator[tuple[int, TopK]]:
    """First window of a batch, and the teacher's word on all its places."""
    features_of, device = FeatureModel(teacher).eval(), teacher.device
    for start in range(done, len(windows), settings.batch_windows):
        batch = read_batch(windows, np.arange(start, min(start + settings.batch_windows, len(windows))), device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.compute == "bfloat16"):
            features: Features = features_of(batch.token_ids)
            parts = [_top_k(rows, features, settings) for rows in _row_chunks(features)]
        yield start, TopK(*(torch.cat([getattr(part, name) for part in parts]) for name in TopK._fields))


def _row_chunks(features: Features) -> tuple[torch.Tensor, ...]:
    """Hidden states of all places that have a next token, so many rows at once as their logits may stand in memory."""
    return torch.split(features.hidden[:, :-1].flatten(0, 1), max(1, CHUNK_LOGITS // len(features.weight)))


def _top_k(rows: torch.Tensor, features: Features, settings: CacheSettings) -> TopK:
    logits = torch.nn.functional.linear(rows, features.weight, features.bias)
    return top_k_of(logits, settings.top_k, temperature=settings.temperature)
