"""A package that stock ``transformers`` loads: the checkpoint's files, as they are, and a manifest.

    checkpoint/ ── hard links, or copies across file systems ──> package/  config.json  *.safetensors  tokenizer*
                ── headers and settings read, not believed ────>           package.json, last

No torch here. Whether the package computes what the checkpoint computes is ``check``'s to say.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any, Final

from harness.checkpoint.checkpoint import files_digest, list_files, read_config
from harness.checkpoint.shards import read_layout
from harness.checkpoint.writer import replace_folder
from harness.deployment.manifest import MANIFEST_NAME, PackagedFile, PackageManifest, read_manifest, require_files
from harness.errors import CheckpointCorrupt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.checkpoint.checkpoint import CheckpointFile

TOKENIZER: Final = "tokenizer.json"
TEMPLATE: Final = "chat_template.jinja"
MAX_SETTINGS_BYTES: Final = 4 << 20


def package(checkpoint: Path, output: Path) -> PackageManifest:
    """Make the folder ``output`` a package of ``checkpoint``, whole or not at all.

    Files are hard links where the file system allows it: a checkpoint's files are never changed in place.

    Raises:
        CheckpointCorrupt: the checkpoint lacks something that a runtime needs, or contradicts itself.
    """
    if (checkpoint / MANIFEST_NAME).exists():
        raise CheckpointCorrupt(f"{checkpoint}: holds a {MANIFEST_NAME}, so it is a package already")
    manifest = describe(checkpoint)
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for file in manifest.files:
        _place(checkpoint / file.name, partial / file.name)
    manifest.write(partial / MANIFEST_NAME)
    replace_folder(output, partial)
    return manifest


def describe(checkpoint: Path) -> PackageManifest:
    """The manifest of a package of ``checkpoint``; every byte of it is read.

    Raises:
        CheckpointCorrupt: as ``package``.
    """
    config, layout, files = read_config(checkpoint), read_layout(checkpoint), list_files(checkpoint)
    if not (checkpoint / TOKENIZER).is_file():
        raise CheckpointCorrupt(f"{checkpoint}: no {TOKENIZER}; a runtime needs the tokenizer beside the weights")
    vocabulary_count = _positive(checkpoint, config, "vocab_size")
    return PackageManifest(
        architecture=_architecture(checkpoint, config),
        checkpoint_digest=files_digest(files),
        dtypes=tuple(sorted({tensor.dtype for tensor in layout.tensors})),
        parameter_count=layout.parameter_count,
        weights_bytes=sum(tensor.size_bytes for tensor in layout.tensors),
        vocabulary_count=vocabulary_count,
        context_tokens=_positive(checkpoint, config, "max_position_embeddings"),
        stop_ids=_stop_ids(checkpoint, config, vocabulary_count),
        chat_template=_has_template(checkpoint),
        files=tuple(map(_packaged, files)),
    )


def read_package(folder: Path) -> PackageManifest:
    """The manifest of the package ``folder``, after every file was held against it.

    Raises:
        CheckpointCorrupt: a file is missing, foreign or changed, or the manifest is not one.
    """
    manifest = read_manifest(PackageManifest, folder)
    found = (_packaged(file) for file in list_files(folder) if file.name != MANIFEST_NAME)
    require_files(folder, manifest.files, found)
    return manifest


def _packaged(file: CheckpointFile) -> PackagedFile:
    return PackagedFile(name=file.name, size_bytes=file.size_bytes, sha256=file.sha256)


def _place(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _architecture(checkpoint: Path, config: Mapping[str, Any]) -> str:
    match config.get("architectures"):
        case [str(name)]:
            return name
        case found:
            raise CheckpointCorrupt(f"{checkpoint / 'config.json'}: architectures must name one class, found {found!r}")


def _positive(checkpoint: Path, config: Mapping[str, Any], field: str) -> int:
    value = config.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CheckpointCorrupt(f"{checkpoint / 'config.json'}: {field} must be a positive integer, found {value!r}")
    return value


def _stop_ids(checkpoint: Path, config: Mapping[str, Any], vocabulary_count: int) -> tuple[int, ...]:
    """What ends an answer: the generation settings say, and the configuration where they are silent."""
    found = _settings(checkpoint / "generation_config.json").get("eos_token_id", config.get("eos_token_id"))
    ids = found if isinstance(found, list) else [found]
    wrong = [value for value in ids if not isinstance(value, int) or not 0 <= value < vocabulary_count]
    if wrong or not ids:
        raise CheckpointCorrupt(
            f"{checkpoint}: eos_token_id must be ids within the vocabulary of {vocabulary_count}, found {found!r}"
        )
    return tuple(sorted(set(ids)))


def _has_template(checkpoint: Path) -> bool:
    return (checkpoint / TEMPLATE).is_file() or bool(
        _settings(checkpoint / "tokenizer_config.json").get("chat_template")
    )


def _settings(file: Path) -> Mapping[str, Any]:
    """An optional JSON object beside the weights; absent is empty."""
    if not file.is_file():
        return {}
    if file.stat().st_size > MAX_SETTINGS_BYTES:
        raise CheckpointCorrupt(f"{file}: {file.stat().st_size} bytes, at most {MAX_SETTINGS_BYTES} are read")
    try:
        settings = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointCorrupt(f"{file}: cannot be read as JSON: {error}") from error
    if not isinstance(settings, dict):
        raise CheckpointCorrupt(f"{file}: expected a JSON object, found {type(settings).__name__}")
    return settings
