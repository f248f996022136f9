"""A checkpoint: a Hugging Face folder, named by its path and by the digest of its bytes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from harness.checkpoint.structure import read_structure
from harness.document import digest_of
from harness.errors import CheckpointCorrupt

if TYPE_CHECKING:
    from pathlib import Path

CHUNK_BYTES = 1 << 22
MAX_CONFIG_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFile:
    """One file of a checkpoint."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model on disk: ``config.json``, safetensors shards, tokenizer files."""

    path: Path
    digest: str
    """SHA-256 over the names, sizes and SHA-256 of all its files, hexadecimal."""

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read every byte of ``path`` and name it by its digest.

        Raises:
            CheckpointCorrupt: ``path`` is no folder with a ``config.json``, or holds something else than plain files.
        """
        return cls(path=path, digest=files_digest(list_files(path)))

    def config(self) -> dict[str, Any]:
        """The parsed ``config.json``, a structured one with its structure; as ``read_described_config``."""
        return read_described_config(self.path)


def list_files(path: Path) -> tuple[CheckpointFile, ...]:
    """Every file of the checkpoint at ``path``, by name, with its digest; hidden files are not part of it."""
    if not (path / "config.json").is_file():
        raise CheckpointCorrupt(f"{path}: no config.json; a checkpoint is a folder with config.json and safetensors")
    return tuple(_file(entry) for entry in sorted(path.iterdir()) if not entry.name.startswith("."))


def files_digest(files: tuple[CheckpointFile, ...]) -> str:
    """The digest of a checkpoint from the digests of its files."""
    return digest_of([[file.name, file.size_bytes, file.sha256] for file in files])


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def read_config(path: Path) -> dict[str, Any]:
    """The parsed ``config.json`` of the folder ``path``; raises ``CheckpointCorrupt``."""
    file = path / "config.json"
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise CheckpointCorrupt(f"{file}: must be a plain file, no link and no device")
    try:
        if file.stat().st_size > MAX_CONFIG_BYTES:
            raise CheckpointCorrupt(f"{file}: {file.stat().st_size} bytes, at most {MAX_CONFIG_BYTES} are read")
        config = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointCorrupt(f"{file}: cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointCorrupt(f"{file}: expected a JSON object, found {type(config).__name__}")
    return config


def read_described_config(path: Path) -> dict[str, Any]:
    """The parsed ``config.json`` of the folder ``path``; what its ``structure.json`` has stands under ``structure``.

    Raises:
        CheckpointCorrupt: one of them cannot be read.
    """
    config, structure = read_config(path), read_structure(path)
    return config if structure is None else {**config, "structure": structure.model_dump(mode="json")}


def _file(entry: Path) -> CheckpointFile:
    if entry.is_symlink() or not entry.is_file():
        raise CheckpointCorrupt(f"{entry}: a checkpoint holds plain files only, no folders and no links")
    return CheckpointFile(name=entry.name, size_bytes=entry.stat().st_size, sha256=sha256_of(entry))
