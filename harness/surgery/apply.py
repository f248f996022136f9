"""Carry a plan out: stream a checkpoint tensor by tensor into a smaller one, in the memory of its largest tensor.

    source/*.safetensors ──read──> take the kept rows and columns ──append──> output/*.safetensors
    source/config.json   ──────────────── reduced ─────────────────────────> output/config.json
    tokenizer and other small files ──────── copied ───────────────────────> output/

Dtypes and the order of tensors stay; where all units stay, so does every bit.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from harness.checkpoint.checkpoint import read_config
from harness.checkpoint.reader import CheckpointReader, open_checkpoint
from harness.checkpoint.writer import CheckpointWriter, TensorSpec
from harness.errors import CheckpointCorrupt
from harness.progress import Progress, silent
from harness.surgery.anatomy import Anatomy, Tensor, load
from harness.surgery.count import reduced_config, tensor_shapes
from harness.surgery.dimension import kept_positions
from harness.surgery.plan import Plan, keep_all

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

WEIGHT_SUFFIXES: Final = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth", ".gguf")
"""Files that hold the weights of the source and so are not copied."""


def apply(checkpoint_path: Path, plan: Plan, output: Path, progress: Progress = silent) -> Path:
    """Write what ``plan`` keeps of the checkpoint at ``checkpoint_path`` to the folder ``output``.

    Whole or absent, and the same bytes each time; a checkpoint that stood at ``output`` is replaced.

    Returns:
        ``output``.

    Raises:
        UsageError: the plan does not fit the checkpoint.
        CheckpointCorrupt: the checkpoint is not what its ``config.json`` says.
    """
    config = read_config(checkpoint_path)
    anatomy, reduced = load(config), reduced_config(config, plan)
    with open_checkpoint(checkpoint_path) as reader:
        check_shapes(reader, anatomy)
        specs = _specs(reader, anatomy, plan)
        with CheckpointWriter(output, specs) as writer:
            for done, spec in enumerate(specs):
                progress("slicing", done, len(specs), spec.name)
                writer.append(spec.name, [slice_tensor(reader.read(spec.name), spec.name, anatomy, plan)])
            copy_files(checkpoint_path, writer)
            writer.write_file("config.json", config_bytes(reduced))
    progress("slicing", len(specs), len(specs))
    return output


def slice_tensor(array: NDArray[Any], name: str, anatomy: Anatomy, plan: Plan) -> NDArray[Any]:
    """The part of tensor ``name`` that stays: whole rows and columns, unchanged bits."""
    tensor = anatomy.tensors[name]
    keep = _keep(tensor, plan)
    for place, dimension in enumerate(tensor.dimensions):
        positions = kept_positions(dimension, anatomy.sizes, keep)
        if positions is not None and len(positions) != array.shape[place]:
            array = array.take(positions, axis=place)
    return array


def check_shapes(reader: CheckpointReader, anatomy: Anatomy) -> None:
    """The tensors in the files are the ones that the configuration asks for; raises ``CheckpointCorrupt``."""
    path = reader.layout.path
    for name, shape in tensor_shapes(anatomy, keep_all(anatomy)).items():
        found = reader.entry(name).shape
        if found != shape:
            raise CheckpointCorrupt(
                f"{path}: tensor {name!r} must be {list(shape)} by config.json, found {list(found)}"
            )
    for entry in reader.layout.tensors:
        if entry.name not in anatomy.tensors:
            raise CheckpointCorrupt(f"{path}: tensor {entry.name!r} is not part of a {anatomy.table.architecture}")


def copy_files(source: Path, writer: CheckpointWriter) -> None:
    """Copy tokenizer, generation settings and all else that is neither weights nor ``config.json``."""
    for entry in sorted(source.iterdir()):
        plain = entry.is_file() and not entry.is_symlink() and not entry.name.startswith(".")
        if plain and entry.name != "config.json" and not entry.name.endswith(WEIGHT_SUFFIXES):
            writer.copy_file(entry)


def config_bytes(config: Mapping[str, Any]) -> bytes:
    """``config.json`` as transformers writes it: sorted, indented by two."""
    return (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()


def _specs(reader: CheckpointReader, anatomy: Anatomy, plan: Plan) -> list[TensorSpec]:
    shapes = tensor_shapes(anatomy, plan)
    entries = reader.layout.tensors
    return [TensorSpec(name=entry.name, dtype=entry.dtype, shape=shapes[entry.name]) for entry in entries]


def _keep(tensor: Tensor, plan: Plan) -> dict[str, NDArray[Any]]:
    units = {axis: plan.kept(axis, tensor.layer) for axis in plan.axes}
    return {axis: kept for axis, kept in units.items() if kept is not None}
