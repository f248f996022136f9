"""NaN, infinities and the largest magnitude of floats, found on their bits.

    sign | exponent | fraction        magnitude = the bits without the sign; it grows with |value|

    0 … 0                             zero
    largest finite = infinity - 1     7bff in FP16: 65504, "saturated"
    infinity                          7c00
    above infinity                    NaN, whatever its payload

Two maxima are enough to see that a block is in order: read as signed integers, the largest is the largest positive
value; read as unsigned ones, it is the negative value that lies farthest from zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from harness.checkpoint.dtypes import to_float32

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["nan", "positive_infinity", "negative_infinity", "saturated"]
KINDS: Final[tuple[Kind, ...]] = ("nan", "positive_infinity", "negative_infinity", "saturated")


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatFormat:
    """How a float dtype lays out its bits."""

    dtype: str
    """As safetensors names it."""
    unsigned: np.dtype[Any]
    signed: np.dtype[Any]
    infinity: int
    """Bits of positive infinity: the exponent alone, all ones."""

    @property
    def sign(self) -> int:
        """The sign's bit."""
        return 1 << (8 * self.unsigned.itemsize - 1)

    def value(self, bits: int) -> float:
        """The value of one element's ``bits``."""
        pattern = np.array([bits], self.unsigned)
        if self.dtype == "BF16":
            return float(to_float32(pattern, self.dtype)[0])
        return float(pattern.view(f"<f{pattern.itemsize}")[0])


FORMATS: Final = {
    dtype: FloatFormat(dtype=dtype, unsigned=np.dtype(f"<u{width}"), signed=np.dtype(f"<i{width}"), infinity=infinity)
    for dtype, width, infinity in (
        ("F16", 2, 0x7C00),
        ("BF16", 2, 0x7F80),
        ("F32", 4, 0x7F80_0000),
        ("F64", 8, 0x7FF0_0000_0000_0000),
    )
}
"""By dtype; dtypes that are not here have integers, or too few bits for this to mean anything."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What was seen of one tensor so far."""

    format: FloatFormat
    largest: int = -1
    """Bits of the largest finite magnitude; -1 before there is one."""
    counts: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    firsts: dict[Kind, int] = field(default_factory=dict)
    """Element, in order of storage, at which each kind was first seen."""

    def add(self, bits: NDArray[Any], first: int) -> None:
        """Look at ``bits``, the unsigned patterns of the elements from number ``first`` on; at least one."""
        largest = max(int(bits.view(self.format.signed).max()), int(bits.max()) & (self.format.sign - 1))
        if largest >= self.format.infinity - 1:
            largest = self._details(bits, first)
        self.largest = max(self.largest, largest)

    def merge(self, later: Tally) -> None:
        """Take in what was seen of elements that come after."""
        self.largest = max(self.largest, later.largest)
        for kind in KINDS:
            self.counts[kind] += later.counts[kind]
        self.firsts = {**later.firsts, **self.firsts}

    def _details(self, bits: NDArray[Any], first: int) -> int:
        """Count and place what is out of order; gives the largest finite magnitude, -1 where none is finite."""
        infinity = self.format.infinity
        magnitudes = bits & bits.dtype.type(self.format.sign - 1)
        self._note("nan", magnitudes > infinity, first)
        self._note("positive_infinity", bits == infinity, first)
        self._note("negative_infinity", bits == infinity | self.format.sign, first)
        self._note("saturated", magnitudes == infinity - 1, first)
        finite = magnitudes[magnitudes < infinity]
        return int(finite.max()) if finite.size else -1

    def _note(self, kind: Kind, where: NDArray[np.bool_], first: int) -> None:
        count = int(np.count_nonzero(where))
        if count:
            self.counts[kind] += count
            self.firsts.setdefault(kind, first + int(where.argmax()))
