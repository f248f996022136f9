"""The bytes of a package's tensors, streamed out of the checkpoint: the writer writes them, the checker compares.

A tensor comes in chunks of rows of about 4 MiB, so that memory does not grow with the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from harness.checkpoint.dtypes import from_float32, to_float32
from harness.deployment.mlc.transposed import MATRIX_DIMENSIONS, transposed_chunks, transposed_shape
from harness.errors import CheckpointCorrupt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from harness.checkpoint.reader import CheckpointReader
    from harness.deployment.mlc.names import MlcTensor
    from harness.deployment.mlc.options import Quantization, WeightLayout

StoredDtype = Literal["F16", "F32", "BF16"]
STORED: Final[dict[Quantization, StoredDtype]] = {"q0f16": "F16", "q0f32": "F32"}
MLC_DTYPE: Final = {"F16": "float16", "F32": "float32"}
WIDTH_BYTES: Final = {"F16": 2, "F32": 4, "BF16": 2}
FLOATS: Final = frozenset({"F16", "BF16", "F32"})


def stored_shape(tensor: MlcTensor, layout: WeightLayout) -> tuple[int, ...]:
    """The shape of ``tensor`` in a package of that layout."""
    return tensor.shape if layout == "plain" else transposed_shape(tensor.shape)


def tensor_chunks(
    reader: CheckpointReader, tensor: MlcTensor, dtype: StoredDtype, layout: WeightLayout
) -> Iterator[NDArray[Any]]:
    """The values of ``tensor`` in the order of its bytes (``BF16`` as bit patterns).

    Raises:
        CheckpointCorrupt: a source is missing, is no float, or has a value that does not fit ``dtype``.
    """
    rows = _rows(reader, tensor, dtype)
    if layout == "transposed" and len(tensor.shape) == MATRIX_DIMENSIONS:
        return transposed_chunks(rows, tensor.shape[0])
    return rows


def _rows(reader: CheckpointReader, tensor: MlcTensor, dtype: StoredDtype) -> Iterator[NDArray[Any]]:
    for source in tensor.sources:
        found = reader.entry(source).dtype
        if found not in FLOATS:
            raise CheckpointCorrupt(f"{reader.layout.path}: tensor {source!r} must be F16, BF16 or F32, found {found}")
        for chunk in reader.chunks(source):
            yield chunk if found == dtype else _converted(chunk, found, dtype, f"{reader.layout.path}: {source!r}")


def _converted(chunk: NDArray[Any], found: str, dtype: StoredDtype, place: str) -> NDArray[Any]:
    try:
        return from_float32(to_float32(chunk, found), dtype)
    except ValueError as error:
        raise CheckpointCorrupt(
            f"{place}: {error}; package it with FP32 weights, or train it in FP16's range"
        ) from error
