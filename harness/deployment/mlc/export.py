"""Write an MLC package from a checkpoint: streamed, whole or not at all, without torch and without mlc_llm.

    headers -> names, shapes -> shards planned -> bytes written and hashed -> index, settings, tokenizer -> package.json

Memory is that of a few chunks of 4 MiB, whatever the model's size; a matrix whose rows 128 does not divide is held
whole where the transposed layout is asked for.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from harness.checkpoint.checkpoint import files_digest, list_files, read_described_config
from harness.checkpoint.reader import CheckpointReader
from harness.checkpoint.shards import read_layout
from harness.checkpoint.writer import SPARE_BYTES, replace_folder
from harness.deployment.manifest import MANIFEST_NAME, packaged_files
from harness.deployment.mlc.chat_config import CONFIG_NAME, chat_config, config_bytes
from harness.deployment.mlc.definition import DEFINITION_NAME, definition_source
from harness.deployment.mlc.index import INDEX_NAME, index_bytes
from harness.deployment.mlc.manifest import MlcManifest
from harness.deployment.mlc.names import naming
from harness.deployment.mlc.options import MlcOptions
from harness.deployment.mlc.sharding import plan_shards
from harness.deployment.mlc.transposed import vectorised_share
from harness.deployment.mlc.values import STORED, WIDTH_BYTES, tensor_chunks
from harness.document import sync_folder, write_atomically
from harness.errors import CheckpointCorrupt, UsageError
from harness.progress import silent
from harness.surgery.table import table_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.checkpoint.checkpoint import CheckpointFile
    from harness.checkpoint.shards import Layout
    from harness.deployment.mlc.names import Naming
    from harness.deployment.mlc.sharding import Shard
    from harness.progress import Progress

LABEL: Final = "packing for mlc"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What a package is written from."""

    checkpoint: Path
    config: Mapping[str, Any]
    layout: Layout
    files: tuple[CheckpointFile, ...]
    naming: Naming
    options: MlcOptions
    settings: Mapping[str, Any]
    """Content of ``mlc-chat-config.json``."""
    definition: str | None
    """Source of the model definition, where one is needed."""
    shards: tuple[Shard, ...]


def export_package(
    checkpoint: Path, out: Path, options: MlcOptions | None = None, progress: Progress = silent
) -> MlcManifest:
    """Make the folder ``out`` an MLC package of ``checkpoint``; a package that stood there is replaced.

    Raises:
        UsageError: an option does not fit the model, MLC cannot have its shape even with a definition of its own, or
            the disk is too small.
        CheckpointCorrupt: the checkpoint lacks something, contradicts itself, or has a value beyond FP16.
    """
    if (checkpoint / MANIFEST_NAME).exists():
        raise CheckpointCorrupt(f"{checkpoint}: holds a {MANIFEST_NAME}, so it is a package already")
    work = _prepare(checkpoint, options or MlcOptions())
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _check_room(partial, sum(shard.size_bytes for shard in work.shards), out)
        manifest = _write(work, partial, progress)
    except Exception:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    replace_folder(out, partial)
    return manifest


def _prepare(checkpoint: Path, options: MlcOptions) -> _Work:
    """Everything that can be wrong is, before a byte is written."""
    config, layout = read_described_config(checkpoint), read_layout(checkpoint)
    names = naming(config, layout)
    if names.custom and options.weight_layout != "plain":
        raise UsageError(
            f"weight layout {options.weight_layout}: MLC has no model of this shape ({names.custom[0]}), and the "
            "definition that comes with it reads the plain layout; take plain"
        )
    width = WIDTH_BYTES[STORED[options.quantization]]
    sized = [(tensor, width * int(np.prod(tensor.shape, dtype=np.int64))) for tensor in names.tensors]
    return _Work(
        checkpoint=checkpoint,
        config=config,
        layout=layout,
        files=list_files(checkpoint),
        naming=names,
        options=options,
        settings=chat_config(checkpoint, config, names, options),
        definition=definition_source(config) if names.custom else None,
        shards=plan_shards(sized, options.max_shard_bytes),
    )


def _write(work: _Work, folder: Path, progress: Progress) -> MlcManifest:
    digests = _write_shards(work, folder, progress)
    dtype = STORED[work.options.quantization]
    write_atomically(folder / INDEX_NAME, index_bytes(work.shards, digests, dtype, work.options.weight_layout))
    write_atomically(folder / CONFIG_NAME, config_bytes(work.settings))
    for name in work.settings["tokenizer_files"]:
        shutil.copyfile(work.checkpoint / name, folder / name)
    if work.definition is not None:
        write_atomically(folder / DEFINITION_NAME, work.definition.encode())
    manifest = _manifest(work, folder)
    manifest.write(folder / MANIFEST_NAME)
    sync_folder(folder)
    return manifest


def _write_shards(work: _Work, folder: Path, progress: Progress) -> list[str]:
    """The MD5 of each shard."""
    digests = []
    with CheckpointReader(work.layout) as reader:
        for number, shard in enumerate(work.shards):
            progress(LABEL, number, len(work.shards), shard.name)
            digests.append(_write_shard(work, reader, shard, folder / shard.name))
    progress(LABEL, len(work.shards), len(work.shards))
    return digests


def _write_shard(work: _Work, reader: CheckpointReader, shard: Shard, path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)  # the format has no other; it guards against accidents
    dtype, layout = STORED[work.options.quantization], work.options.weight_layout
    with path.open("wb") as stream:
        for record in shard.records:
            start = stream.tell()
            for chunk in tensor_chunks(reader, record.tensor, dtype, layout):
                content = np.ascontiguousarray(chunk).data.cast("B") if chunk.size else b""
                digest.update(content)
                stream.write(content)
            if stream.tell() - start != record.size_bytes:
                raise CheckpointCorrupt(
                    f"{work.checkpoint}: {record.tensor.name} has {stream.tell() - start} bytes, "
                    f"its shape makes {record.size_bytes}"
                )
        stream.flush()
        os.fsync(stream.fileno())
    return digest.hexdigest()


def _manifest(work: _Work, folder: Path) -> MlcManifest:
    options, settings = work.options, work.settings
    shapes = [tensor.shape for tensor in work.naming.tensors]
    return MlcManifest(
        architecture=table_of(work.config).model_type,
        mlc_model_type=work.naming.model_type,
        quantization=options.quantization,
        weight_layout=options.weight_layout,
        checkpoint_digest=files_digest(work.files),
        source_dtypes=tuple(sorted({entry.dtype for entry in work.layout.tensors})),
        tensor_count=len(shapes),
        parameter_count=sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes),
        weights_bytes=sum(shard.size_bytes for shard in work.shards),
        vectorised_share=vectorised_share(shapes),
        vocabulary_count=settings["vocab_size"],
        context_tokens=settings["context_window_size"],
        prefill_chunk_tokens=settings["prefill_chunk_size"],
        max_batch_size=options.max_batch_size,
        conversation=settings["conv_template"]["name"],
        stop_ids=tuple(settings["conv_template"]["stop_token_ids"]),
        custom=work.naming.custom,
        definition=DEFINITION_NAME if work.definition is not None else None,
        files=packaged_files(folder),
    )


def _check_room(folder: Path, needed_bytes: int, out: Path) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes + SPARE_BYTES > free_bytes:
        raise UsageError(
            f"{out}: the package needs {(needed_bytes + SPARE_BYTES) / 1e9:.3f} GB, the disk has "
            f"{free_bytes / 1e9:.3f} GB free; make room, or write elsewhere"
        )
