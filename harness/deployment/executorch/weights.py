"""The data file (``.ptd``), streamed from the checkpoint; imported only where an export runs.

    keys + shapes ── executorch's own serializer: header, table of keys ──> model.ptd
    checkpoint    ── chunk by chunk, rounded to the package's dtype ──────>

A tensor that two keys name (a tied head) is stored once. Memory is one chunk.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Final

from executorch.exir._serialize._cord import FileBackedData
from executorch.exir._serialize.data_serializer import DataEntry, DataPayload
from executorch.exir.scalar_type import ScalarType
from executorch.exir.tensor_layout import TensorLayout
from executorch.extension.flat_tensor.serialize.serialize import FlatTensorSerializer

from harness.checkpoint.dtypes import from_float32, storage_dtype, to_float32
from harness.deployment.executorch.placeholder import STORED
from harness.errors import CheckpointCorrupt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.checkpoint.reader import CheckpointReader
    from harness.deployment.executorch.lowering import WeightKey
    from harness.deployment.executorch.options import PackageDtype

ALIGNMENT: Final = 64
"""Of every tensor, bytes: a line of the processor's cache."""
SCALARS: Final = {"float16": ScalarType.HALF, "float32": ScalarType.FLOAT}


class StreamedTensor(FileBackedData):  # type: ignore[misc] # executorch is not typed
    """A tensor of a checkpoint, where executorch writes data: its bytes exist while they are written."""

    def __init__(self, reader: CheckpointReader, name: str, dtype: PackageDtype) -> None:
        self._reader, self._name, self._stored = reader, name, STORED[dtype]

    def __len__(self) -> int:
        kind = storage_dtype(self._stored)
        return self._reader.entry(self._name).element_count * (kind.itemsize if kind else 0)

    def write_to_file(self, outfile: IO[bytes]) -> None:
        """Append the tensor to ``outfile``; raises ``CheckpointCorrupt`` where a value does not fit the dtype."""
        found = self._reader.entry(self._name).dtype
        for chunk in self._reader.chunks(self._name):
            try:
                same = found == self._stored
                outfile.write((chunk if same else from_float32(to_float32(chunk, found), self._stored)).data)
            except ValueError as error:
                raise CheckpointCorrupt(f"{self._reader.layout.path}: tensor {self._name!r}: {error}") from error


def write_data(
    weights: Sequence[tuple[WeightKey, str]], reader: CheckpointReader, dtype: PackageDtype, target: Path
) -> None:
    """Write the data file ``target``: under each key the checkpoint's tensor that is named beside it.

    Raises:
        CheckpointCorrupt: a value does not fit ``dtype``, or a tensor cannot be read.
    """
    places = {name: place for place, name in enumerate(dict.fromkeys(name for _, name in weights))}
    payload = DataPayload(
        buffers=[StreamedTensor(reader, name, dtype) for name in places],
        named_data={
            weight.key: DataEntry(
                buffer_index=places[name],
                alignment=ALIGNMENT,
                tensor_layout=_layout(reader.entry(name).shape, dtype) if weight.is_tensor else None,
            )
            for weight, name in weights
        },
    )
    with target.open("wb") as stream:
        FlatTensorSerializer().serialize(payload).write_to_file(stream)


def _layout(shape: tuple[int, ...], dtype: PackageDtype) -> TensorLayout:
    return TensorLayout(SCALARS[dtype], list(shape), list(range(len(shape))))
