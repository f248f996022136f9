"""The dtypes of safetensors: their width, and how numpy holds them.

``BF16`` and the 8-bit floats have no numpy type: they travel as bit patterns (``uint16``, ``uint8``), which is exact
for everything that surgery does; ``to_float32`` gives their values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS: Final[dict[str, int]] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
"""Bits of one element, by the dtype's name in a safetensors header."""

_NUMPY: Final[dict[str, str]] = {
    "BOOL": "|b1",
    "U8": "|u1",
    "I8": "|i1",
    "I16": "<i2",
    "U16": "<u2",
    "F16": "<f2",
    "BF16": "<u2",
    "I32": "<i4",
    "U32": "<u4",
    "F32": "<f4",
    "C64": "<c8",
    "F64": "<f8",
    "I64": "<i8",
    "U64": "<u8",
}

_VALUED: Final = frozenset({"F16", "BF16", "F32", "F64"})


def storage_dtype(dtype: str) -> np.dtype[Any] | None:
    """The numpy dtype that holds the bits of ``dtype``; None where elements are not whole bytes."""
    if BITS[dtype] == 8:  # noqa: PLR2004 - bits of a byte
        return np.dtype(_NUMPY.get(dtype, "|u1"))
    return np.dtype(_NUMPY[dtype]) if dtype in _NUMPY else None


def to_float32(array: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """The values of ``array``, stored as ``dtype``, in FP32.

    Raises:
        ValueError: ``dtype`` is no float of at least 16 bits.
    """
    if dtype not in _VALUED:
        raise ValueError(f"dtype must be one of {', '.join(sorted(_VALUED))}, got {dtype}")
    if dtype == "BF16":
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one; whoever reads values finds it
        return array.astype(np.float32)


def from_float32(array: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """``array`` as it is stored in ``dtype``, rounded to the nearest, ties to even (``BF16`` as bit patterns).

    Raises:
        ValueError: ``dtype`` is no float of at least 16 bits, or a finite value is too large for it.
    """
    if dtype not in _VALUED:
        raise ValueError(f"dtype must be one of {', '.join(sorted(_VALUED))}, got {dtype}")
    if dtype == "BF16":
        bits = array.view(np.uint32)
        quieted = (bits >> np.uint32(16)) | np.uint32(0x40)
        rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
        stored: NDArray[Any] = np.where(np.isnan(array), quieted, rounded).astype("<u2")
    else:
        with np.errstate(over="ignore"):
            stored = array.astype(_NUMPY[dtype])
    if not np.isfinite(to_float32(stored, dtype)[np.isfinite(array)]).all():
        raise ValueError(f"a value of magnitude {np.abs(array[np.isfinite(array)]).max():g} does not fit {dtype}")
    return stored
