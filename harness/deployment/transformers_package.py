"""The plain package: the stock Hugging Face folder, with a manifest of every file's digest.

It runs wherever stock ``transformers`` runs. Nothing is converted, so nothing can differ from what was scored: the
manifest's digests are those of the checkpoint's own files.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from harness.checkpoint.checkpoint import files_digest, list_files, read_config
from harness.checkpoint.shards import read_layout
from harness.document import Document

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = "package.json"
FORMAT = "transformers"


class PackagedFile(Document):
    """One file of a package."""

    name: str
    size_bytes: int
    sha256: str


class PackageManifest(Document):
    """``package.json``: what the package holds and what it was made from."""

    format: str
    checkpoint_digest: str
    """Digest of the checkpoint whose files these are."""
    dtypes: tuple[str, ...]
    """Safetensors dtypes of the tensors, sorted."""
    context_tokens: int | None
    """Positions that the model knows."""
    files: tuple[PackagedFile, ...]


def package(checkpoint: Path, output: Path) -> PackageManifest:
    """Copy the checkpoint's files to the folder ``output`` and write the manifest last.

    Raises:
        CheckpointCorrupt: the folder is no whole checkpoint.
    """
    files = list_files(checkpoint)
    layout = read_layout(checkpoint)
    context = read_config(checkpoint).get("max_position_embeddings")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    for file in files:
        shutil.copyfile(checkpoint / file.name, output / file.name)
    manifest = PackageManifest(
        format=FORMAT,
        checkpoint_digest=files_digest(files),
        dtypes=tuple(sorted({tensor.dtype for tensor in layout.tensors})),
        context_tokens=context if isinstance(context, int) else None,
        files=tuple(PackagedFile(name=file.name, size_bytes=file.size_bytes, sha256=file.sha256) for file in files),
    )
    manifest.write(output / MANIFEST)
    return manifest
