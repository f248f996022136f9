"""Weights that take no memory while the program is lowered: zeros that nobody wrote, with a mark in front.

    np.zeros ── pages of the system's one zero page; reading them takes no memory ──┐
    mark     ── 16 bytes: which tensor this stands for ────────────────────────────┴─> parameter of the step

Lowering looks at weights only to name them by their digest, and at the dtype, shape and order of their dimensions. So
the mark tells afterwards which tensor a digest stands for, and the values come from the checkpoint when the data file
is written. Vectors (norms, biases) are not worth it: they are what they are, inside the program.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from harness.checkpoint.dtypes import from_float32, to_float32
from harness.errors import CheckpointCorrupt

if TYPE_CHECKING:
    from harness.checkpoint.reader import CheckpointReader
    from harness.deployment.executorch.options import PackageDtype

MARK: Final = b"edge-weight\0"
MARK_BYTES: Final = len(MARK) + 4
SMALL_ELEMENTS: Final = 64
"""Matrices of fewer elements are lowered with their values, as vectors are: a mark needs room."""
STORED: Final = {"float16": "F16", "float32": "F32"}
"""The dtypes of packages, as safetensors names them."""


class Placeholders:
    """Makes the parameters of a step, and recognises them later by their bytes."""

    def __init__(self, reader: CheckpointReader, dtype: PackageDtype) -> None:
        self._reader, self._stored = reader, STORED[dtype]
        self._names: list[str] = []

    def make(self, name: str, source: str, shape: torch.Size) -> torch.Tensor:
        """What stands for parameter ``name`` of ``shape``; ``source`` is its tensor in the checkpoint.

        Raises:
            CheckpointCorrupt: a value of a vector does not fit the package's dtype, or it cannot be read.
        """
        if len(shape) == 1 or math.prod(shape) < SMALL_ELEMENTS:
            return self._values(source).reshape(shape)
        kind = np.dtype(np.float16 if self._stored == "F16" else np.float32)
        stand_in = np.zeros(math.prod(shape) * kind.itemsize, np.uint8)
        stand_in[:MARK_BYTES] = np.frombuffer(MARK + len(self._names).to_bytes(4, "little"), np.uint8)
        self._names.append(name)
        return torch.from_numpy(stand_in.view(kind)).reshape(shape)

    def _values(self, source: str) -> torch.Tensor:
        values = to_float32(self._reader.read(source), self._reader.entry(source).dtype)
        try:
            return torch.from_numpy(from_float32(values, self._stored))
        except ValueError as error:
            raise CheckpointCorrupt(f"{self._reader.layout.path}: tensor {source!r}: {error}") from error

    def name_of(self, data: bytes) -> str | None:
        """The parameter that ``data`` stands for; None where it is what it is."""
        if data[: len(MARK)] != MARK:
            return None
        return self._names[int.from_bytes(data[len(MARK) : MARK_BYTES], "little")]

    @property
    def names(self) -> frozenset[str]:
        """Every parameter that has a stand-in."""
        return frozenset(self._names)
