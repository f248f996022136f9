"""``package.json``: what a package holds and what a runtime has to know of it.

transformers   PackageManifest      the checkpoint's own files
executorch     ExecutorchManifest   a program, its data file, tokenizer files
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeVar

from pydantic import Field, ValidationError

from harness.checkpoint.checkpoint import sha256_of
from harness.document import Document
from harness.errors import CheckpointCorrupt

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MANIFEST_NAME: Final = "package.json"


class PackagedFile(Document):
    """One file of a package."""

    name: str
    size_bytes: int = Field(ge=0)
    sha256: str


class PackageManifest(Document):
    """A package in the form that stock ``transformers`` loads."""

    format: Literal["transformers"] = "transformers"
    format_version: Literal[1] = 1
    architecture: str
    """Class that loads it, e.g. ``LlamaForCausalLM``."""
    checkpoint_digest: str
    """Digest of the checkpoint whose files these are."""
    dtypes: tuple[str, ...]
    """Of the stored tensors, as safetensors names them."""
    parameter_count: int = Field(gt=0)
    """Stored parameters; tied tensors are stored once."""
    weights_bytes: int = Field(gt=0)
    vocabulary_count: int = Field(gt=0)
    """Rows of the embedding."""
    context_tokens: int = Field(gt=0)
    """Positions that the model knows."""
    stop_ids: tuple[int, ...] = Field(min_length=1)
    """Token ids that end an answer, ascending."""
    chat_template: bool
    """Whether the tokenizer files bring a chat template."""
    files: tuple[PackagedFile, ...]
    """Every file but the manifest, by name."""


class ExecutorchManifest(Document):
    """A package that the runtime of ExecuTorch loads, here and on Android."""

    format: Literal["executorch"] = "executorch"
    format_version: Literal[1] = 1
    executorch_version: str
    """That exported it; programs are loaded by the same and by later versions."""
    torch_version: str
    backend: Literal["xnnpack"] = "xnnpack"
    architecture: str
    """Class of the checkpoint, e.g. ``LlamaForCausalLM``."""
    checkpoint_digest: str
    """Digest of the checkpoint that it was made from."""
    dtype: Literal["float16", "float32"]
    """Of weights, cache and computation."""
    parameter_count: int = Field(gt=0)
    """Stored parameters of the checkpoint; tied tensors are stored once."""
    weights_bytes: int = Field(gt=0)
    """Of ``parameter_count`` in ``dtype``."""
    cache_bytes: int = Field(gt=0)
    """Of the KV cache, all layers together."""
    vocabulary_count: int = Field(gt=0)
    """Logits of one position."""
    context_tokens: int = Field(gt=0)
    """Positions of the KV cache, prompt and answer together."""
    prefill_chunk: int = Field(gt=0)
    """Most tokens that one call reads."""
    stop_ids: tuple[int, ...] = Field(min_length=1)
    """Token ids that end an answer, ascending."""
    chat_template: bool
    """Whether the tokenizer files bring a chat template."""
    program: str
    """File of the program."""
    data: str
    """File of the weights; the runtime is given both."""
    files: tuple[PackagedFile, ...]
    """Every file but the manifest, by name."""


ManifestT = TypeVar("ManifestT", PackageManifest, ExecutorchManifest)


def packaged_files(folder: Path) -> tuple[PackagedFile, ...]:
    """Every file of the package ``folder`` but its manifest, by name; every byte is read.

    Raises:
        CheckpointCorrupt: it is no folder, or holds something else than plain files.
    """
    if not folder.is_dir():
        raise CheckpointCorrupt(f"{folder}: no folder; a package is a folder with a {MANIFEST_NAME}")
    entries = [entry for entry in sorted(folder.iterdir()) if entry.name != MANIFEST_NAME]
    for entry in entries:
        if entry.is_symlink() or not entry.is_file():
            raise CheckpointCorrupt(f"{entry}: a package holds plain files only, no folders and no links")
    return tuple(_packaged(entry) for entry in entries)


def _packaged(file: Path) -> PackagedFile:
    return PackagedFile(name=file.name, size_bytes=file.stat().st_size, sha256=sha256_of(file))


def read_manifest(kind: type[ManifestT], folder: Path) -> ManifestT:
    """The manifest of the package ``folder``; the files are not read.

    Raises:
        CheckpointCorrupt: there is none, or it is none of a package of this kind.
    """
    try:
        return kind.read(folder / MANIFEST_NAME)
    except (OSError, ValidationError) as error:
        raise CheckpointCorrupt(f"{folder / MANIFEST_NAME}: is no manifest of a package: {error}") from error


def verify(kind: type[ManifestT], folder: Path) -> ManifestT:
    """The manifest of the package ``folder``, after every file was held against it.

    Raises:
        CheckpointCorrupt: a file is missing, foreign or changed, or the manifest is not one.
    """
    manifest = read_manifest(kind, folder)
    require_files(folder, manifest.files, packaged_files(folder))
    return manifest


def require_files(folder: Path, stated: Iterable[PackagedFile], found: Iterable[PackagedFile]) -> None:
    """Raise ``CheckpointCorrupt`` unless the files ``found`` in ``folder`` are those that its manifest states."""
    theirs, ours = {file.name: file for file in stated}, {file.name: file for file in found}
    wrong = sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))
    if wrong:
        raise CheckpointCorrupt(f"{folder}: missing, foreign or changed since it was packaged: {', '.join(wrong[:5])}")
