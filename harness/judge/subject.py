"""What is to be measured: a checkpoint or a package, by its folder and the digest of its files.

folder with package.json   a package, of executorch or of transformers   every file held against the manifest
folder with config.json    a checkpoint                                  every file read for the digest
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from harness.checkpoint.checkpoint import Checkpoint, read_described_config
from harness.deployment.manifest import MANIFEST_NAME, ExecutorchManifest, PackageManifest, read_manifest, verify
from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONFIG: Final = "config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model to measure."""

    name: str
    """As a record may call it: no path of the machine."""
    folder: Path
    config: Mapping[str, Any] | None
    """With its structure; none of a package that brings no ``config.json``."""
    weights_digest: str
    """Of a checkpoint over its files; of a package over its manifest, which has the digest of every file."""
    checkpoint_digest: str
    """Of the checkpoint that the weights are."""
    edge: ExecutorchManifest | None
    """Of a package for the edge runtime; none of what transformers loads."""


def of_folder(folder: Path, checkpoint: Path | None = None) -> Subject:
    """The subject in ``folder``; every byte of it is read for its digest.

    Args:
        folder: A checkpoint or a package.
        checkpoint: Of a package without a configuration, what it was made of.

    Raises:
        UsageError: it is neither a checkpoint nor a package.
        CheckpointCorrupt: it is not what it claims to be.
    """
    if (folder / MANIFEST_NAME).is_file():
        return of_package(folder, checkpoint)
    if (folder / CONFIG).is_file():
        return of_checkpoint(folder)
    raise UsageError(f"{folder}: neither a checkpoint ({CONFIG}) nor a package ({MANIFEST_NAME})")


def of_checkpoint(folder: Path, name: str | None = None) -> Subject:
    """A checkpoint; raises ``CheckpointCorrupt``."""
    digest = Checkpoint.of(folder).digest
    return Subject(
        name=name or folder.resolve().name,
        folder=folder,
        config=read_described_config(folder),
        weights_digest=digest,
        checkpoint_digest=digest,
        edge=None,
    )


def of_package(folder: Path, checkpoint: Path | None = None) -> Subject:
    """A package, every file held against its manifest; the configuration is its own, or its ``checkpoint``'s.

    Raises:
        UsageError: no runtime here runs that kind of package, or it was made of another checkpoint.
        CheckpointCorrupt: the package is not whole.
    """
    edge = None
    match kind := _format(folder):
        case "executorch":
            manifest: ExecutorchManifest | PackageManifest = verify(ExecutorchManifest, folder)
            edge = read_manifest(ExecutorchManifest, folder)
        case "transformers":
            manifest = verify(PackageManifest, folder)
        case _:
            raise UsageError(f"{folder}: a package for {kind!r}; packages that run here: executorch, transformers")
    source = folder if (folder / CONFIG).is_file() else checkpoint
    if checkpoint is not None and (digest := Checkpoint.of(checkpoint).digest) != manifest.checkpoint_digest:
        raise UsageError(f"{folder}: was made of checkpoint {manifest.checkpoint_digest}, {checkpoint} is {digest}")
    return Subject(
        name=folder.resolve().name,
        folder=folder,
        config=None if source is None else read_described_config(source),
        weights_digest=manifest.content_digest(),
        checkpoint_digest=manifest.checkpoint_digest,
        edge=edge,
    )


def _format(folder: Path) -> str:
    """The manifest's ``format``; what is wrong with the rest is said by the one who reads it all."""
    try:
        said = json.loads((folder / MANIFEST_NAME).read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / MANIFEST_NAME}: cannot be read as JSON: {error}") from error
    return str(said.get("format")) if isinstance(said, dict) else "unknown"
