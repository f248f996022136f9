"""What the record says about a checkpoint, read from its files; torch is not needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.checkpoint.checkpoint import files_digest, list_files, read_config
from harness.checkpoint.shards import read_layout
from harness.submission.file_record import FileRecord
from harness.submission.model_result import CheckpointRecord

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.checkpoint.checkpoint import CheckpointFile
    from harness.checkpoint.shards import Layout

OUTPUT_EMBEDDING = "lm_head.weight"


def describe_checkpoint(
    path: Path, *, files: tuple[CheckpointFile, ...] | None = None, location: str | None = None
) -> CheckpointRecord:
    """The record of the checkpoint at ``path``.

    Args:
        path: folder of the checkpoint.
        files: its files, where their digests are known; without them every byte is read.
        location: what the record says of where it stands.

    Raises:
        CheckpointCorrupt: the folder is no whole checkpoint.
    """
    files = files or list_files(path)
    layout = read_layout(path)
    return CheckpointRecord(
        checkpoint_digest=files_digest(files),
        parameter_count=parameter_count(layout, read_config(path)),
        weights_bytes=weights_bytes(layout),
        dtypes=dtypes(layout),
        files=file_records(files),
        location=location,
    )


def file_records(files: tuple[CheckpointFile, ...]) -> tuple[FileRecord, ...]:
    """The files of a checkpoint or package as the record keeps them."""
    return tuple(FileRecord(name=file.name, size_bytes=file.size_bytes, sha256=file.sha256) for file in files)


def checkpoint_parameters(path: Path) -> int:
    """Parameters of the checkpoint at ``path``, from its configuration and the headers of its shards.

    Raises:
        CheckpointCorrupt: one of them cannot be read.
    """
    return parameter_count(read_layout(path), read_config(path))


def parameter_count(layout: Layout, config: Mapping[str, Any]) -> int:
    """Elements of all tensors; an output embedding that is stored although the config ties it counts once."""
    tied = config.get("tie_word_embeddings") is True
    return sum(t.element_count for t in layout.tensors if not (tied and t.name == OUTPUT_EMBEDDING))


def weights_bytes(layout: Layout) -> int:
    """Bytes of all tensors, without headers."""
    return sum(tensor.size_bytes for tensor in layout.tensors)


def dtypes(layout: Layout) -> tuple[str, ...]:
    """The dtypes that occur, sorted."""
    return tuple(sorted({tensor.dtype for tensor in layout.tensors}))
