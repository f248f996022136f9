"""Write a checkpoint anew with a few tensors replaced or left out; the rest streams through untouched.

source tensors ──as they are──────> output tensors
made           ──replace by name──> output tensors          dropped: not written
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.checkpoint.dtypes import from_float32
from harness.checkpoint.reader import open_checkpoint
from harness.checkpoint.writer import CheckpointWriter, TensorSpec
from harness.methods.models import COPIED_FILES
from harness.surgery import anatomy as anatomies
from harness.surgery.apply import check_shapes, described_files
from harness.surgery.count import tensor_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from harness.checkpoint.reader import CheckpointReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriting:
    """What the output has that the source has not."""

    config: Mapping[str, Any]
    """Of the output."""
    made: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Tensors by name, stored in the dtype of the source's embedding."""
    files_from: Path | None = None
    """Folder of the tokenizer and generation files; None for the source's."""


def rewrite(source: Path, output: Path, rewriting: Rewriting) -> Path:
    """Write the checkpoint that ``rewriting`` makes of ``source`` to the folder ``output``, whole or not at all.

    Raises:
        CheckpointCorrupt: the source is not what its configuration says.
        ValueError: a tensor of the output is neither made nor one of the source's of the same shape.
    """
    shapes = tensor_shapes(anatomies.load(rewriting.config))
    with open_checkpoint(source) as reader:
        dtype = reader.layout.tensors[0].dtype
        specs = [_spec(reader, name, shape, rewriting, dtype) for name, shape in shapes.items()]
        with CheckpointWriter(output, specs) as writer:
            for spec in specs:
                made = rewriting.made.get(spec.name)
                writer.append(spec.name, reader.chunks(spec.name) if made is None else [from_float32(made, spec.dtype)])
            for name, content in described_files(rewriting.config).items():
                writer.write_file(name, content)
            for name in COPIED_FILES:
                if ((rewriting.files_from or source) / name).is_file():
                    writer.copy_file((rewriting.files_from or source) / name)
    return output


def tie_embeddings(source: Path, config: Mapping[str, Any], output: Path) -> Path:
    """Write ``source`` with its embedding serving as its head too; what its head was is lost and must be learned.

    Args:
        source: A checkpoint, tied or not.
        config: Of ``source``, as ``Checkpoint.config`` gives it.
        output: Folder to write.
    """
    with open_checkpoint(source) as reader:
        check_shapes(reader, anatomies.load(config))
    return rewrite(source, output, Rewriting(config=tied_config(config)))


def tied_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` with tied embeddings."""
    return {**config, "tie_word_embeddings": True}


def _spec(reader: CheckpointReader, name: str, shape: tuple[int, ...], rewriting: Rewriting, dtype: str) -> TensorSpec:
    if name in rewriting.made:
        if rewriting.made[name].shape != shape:
            raise ValueError(
                f"{name} must be {list(shape)} by the configuration, got {list(rewriting.made[name].shape)}"
            )
        return TensorSpec(name=name, dtype=dtype, shape=shape)
    entry = reader.entry(name)
    if entry.shape != shape:
        raise ValueError(f"{name} must be {list(shape)} by the configuration, the source has {list(entry.shape)}")
    return TensorSpec(name=name, dtype=entry.dtype, shape=shape)
