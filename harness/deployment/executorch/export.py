"""A checkpoint, of any structure that there is an anatomy of, into a package for the runtime of ExecuTorch.

    config.json, structure.json ── Step ── lowering ──> model.pte    the program, a few hundred kB
    *.safetensors               ── chunk by chunk ────> model.ptd    the weights, in the package's dtype
    tokenizer files, settings   ── copies ────────────>              as they are, config.json and structure.json too
                                                        package.json, last

The weights are in memory neither while the program is made nor while they are written.
"""

from __future__ import annotations

import shutil
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from harness.checkpoint.checkpoint import read_described_config
from harness.checkpoint.reader import open_checkpoint
from harness.checkpoint.structure import ONE_EXIT, STRUCTURE_NAME
from harness.checkpoint.writer import replace_folder
from harness.deployment.executorch.installed import require_executorch
from harness.deployment.executorch.quiet import quiet
from harness.deployment.manifest import MANIFEST_NAME, ExecutorchManifest, packaged_files
from harness.deployment.transformers_package import describe
from harness.errors import UsageError
from harness.methods.models import COPIED_FILES
from harness.progress import silent
from harness.surgery.anatomy import load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.checkpoint.reader import CheckpointReader
    from harness.deployment.executorch.lowering import WeightKey
    from harness.deployment.executorch.options import ExecutorchOptions
    from harness.deployment.executorch.step import Step
    from harness.deployment.manifest import PackageManifest
    from harness.progress import Progress
    from harness.surgery.anatomy import Anatomy

PROGRAM: Final = "model.pte"
DATA: Final = "model.ptd"
DESCRIBING_FILES: Final = ("config.json", STRUCTURE_NAME)
"""What the shapes are: memory is predicted from these, the runtime does not read them."""
BYTES: Final = {"float16": 2, "float32": 4}


def export_package(
    checkpoint: Path, out: Path, options: ExecutorchOptions, progress: Progress = silent
) -> ExecutorchManifest:
    """Make the folder ``out`` an ExecuTorch package of ``checkpoint``, whole or not at all.

    Raises:
        ToolchainFailed: executorch is not installed.
        UsageError: there is no anatomy of the checkpoint, or the options ask for more than it knows.
        CheckpointCorrupt: the checkpoint lacks something that a runtime needs, or a value does not fit the dtype.
        EngineFailed: executorch lowered it in a way that the harness does not know.
    """
    require_executorch()
    if (checkpoint / MANIFEST_NAME).exists():
        raise UsageError(f"{checkpoint}: holds a {MANIFEST_NAME}, so it is a package already")
    described = describe(checkpoint)
    if options.context_tokens > described.context_tokens:
        raise UsageError(
            f"context_tokens must be at most {described.context_tokens}, the model's max_position_embeddings, "
            f"found {options.context_tokens}"
        )
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        manifest = _fill(checkpoint, partial, options, described, progress)
        manifest.write(partial / MANIFEST_NAME)
        replace_folder(out, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _fill(
    checkpoint: Path, folder: Path, options: ExecutorchOptions, described: PackageManifest, progress: Progress
) -> ExecutorchManifest:
    anatomy = load(read_described_config(checkpoint))
    if anatomy.structure is not None and anatomy.structure.exits:
        raise UsageError(f"{checkpoint}/structure.json: exits {list(anatomy.structure.exits)}: {ONE_EXIT}")
    metadata = _metadata(options, described)
    with open_checkpoint(checkpoint) as reader:
        progress("lowering and weights", 0, 2)
        weights = _write_program(anatomy, reader, options, metadata, folder / PROGRAM)
        progress("lowering and weights", 1, 2)
        _write_data(weights, reader, options, folder / DATA)
        progress("lowering and weights", 2, 2)
    for name in (*COPIED_FILES, *DESCRIBING_FILES):
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, folder / name)
    return ExecutorchManifest(
        executorch_version=version("executorch"),
        torch_version=version("torch"),
        architecture=described.architecture,
        checkpoint_digest=described.checkpoint_digest,
        dtype=options.dtype,
        parameter_count=described.parameter_count,
        weights_bytes=described.parameter_count * BYTES[options.dtype],
        cache_bytes=cache_bytes(anatomy, options),
        vocabulary_count=described.vocabulary_count,
        context_tokens=options.context_tokens,
        prefill_chunk=chunk_of(options),
        stop_ids=described.stop_ids,
        chat_template=described.chat_template,
        program=PROGRAM,
        data=DATA,
        files=packaged_files(folder),
    )


def _write_program(
    anatomy: Anatomy,
    reader: CheckpointReader,
    options: ExecutorchOptions,
    metadata: Mapping[str, Any],
    target: Path,
) -> list[tuple[WeightKey, str]]:
    """The program into ``target``; returns the keys of its data file, each with the checkpoint's tensor."""
    from harness.deployment.executorch.placeholder import Placeholders
    from harness.deployment.executorch.step import give, source_of

    step = build_step(reader.layout.path, anatomy, options)
    placeholders = Placeholders(reader, options.dtype)
    give(step, lambda name, shape: placeholders.make(name, source_of(name, anatomy), shape))
    with quiet(f"lowering {reader.layout.path.name}"):
        from harness.deployment.executorch.lowering import lower

        keys = lower(step, chunk_of(options), metadata, placeholders, target)
    return [(key, source_of(key.name, anatomy)) for key in keys]


def _write_data(
    weights: list[tuple[WeightKey, str]], reader: CheckpointReader, options: ExecutorchOptions, target: Path
) -> None:
    with quiet(f"weights of {reader.layout.path.name}"):
        from harness.deployment.executorch.weights import write_data

        write_data(weights, reader, options.dtype, target)


def build_step(checkpoint: Path, anatomy: Anatomy, options: ExecutorchOptions) -> Step:
    """The graph of ``checkpoint`` without its weights; raises ``UsageError`` as ``export_package``."""
    import torch

    from harness.deployment.executorch.rotation import rotation_table
    from harness.deployment.executorch.step import Step

    rotation = rotation_table(checkpoint, options.context_tokens, anatomy.sizes["head_dim"])
    return Step(anatomy, rotation, options.context_tokens, getattr(torch, options.dtype))


def chunk_of(options: ExecutorchOptions) -> int:
    """Most tokens of one call: a chunk, or the whole context where that is shorter."""
    return min(options.prefill_chunk, options.context_tokens)


def cache_bytes(anatomy: Anatomy, options: ExecutorchOptions) -> int:
    """Keys and values of every layer at every position."""
    widths = [sizes["kv_group"] * sizes["head_dim"] for sizes in anatomy.layer_sizes]
    return 2 * sum(widths) * options.context_tokens * BYTES[options.dtype]


def _metadata(options: ExecutorchOptions, described: PackageManifest) -> dict[str, Any]:
    """What executorch's own runners of language models ask a program, Android's among them."""
    return {
        "get_max_seq_len": chunk_of(options),
        "get_max_context_len": options.context_tokens,
        "get_vocab_size": described.vocabulary_count,
        "get_eos_ids": list(described.stop_ids),
        "use_kv_cache": True,
        "use_sdpa_with_kv_cache": False,
        "enable_dynamic_shape": chunk_of(options) > 1,
    }
