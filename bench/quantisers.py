"""Every way to quantise a matrix that the detector is held against: what shares a scale, and how values are rounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Matrix = NDArray[Any]

_NF4_NEGATIVE: Final = (-1, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.09105004)
_NF4_POSITIVE: Final = (0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1)
NF4: Final = np.array([*_NF4_NEGATIVE, 0, *_NF4_POSITIVE], np.float32)
"""The codebook of QLoRA (Dettmers et al. 2023, appendix E)."""
FP8_LARGEST: Final = 448.0
FP8_BITS: Final = 4
FP8_SMALLEST_EXPONENT: Final = -5
KMEANS_ROUNDS: Final = 8
KMEANS_SAMPLE: Final = 40_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What shares a scale."""

    name: str
    columns: bool = False
    """Whether it runs along columns."""
    size: int | None = None
    """Elements; None for whole lines."""
    whole: bool = False
    """The whole tensor."""

    def fits(self, weight: Matrix) -> bool:
        """Whether the matrix divides into such units."""
        return self.size is None or weight.shape[0 if self.columns else 1] % self.size == 0

    def apply(self, weight: Matrix, rounding: Callable[[Matrix], Matrix]) -> Matrix:
        """``weight`` with ``rounding`` applied to its units, laid out as rows."""
        turned = np.ascontiguousarray(weight.T if self.columns else weight)
        width = turned.size if self.whole else self.size or turned.shape[1]
        rounded = rounding(turned.reshape(-1, width)).reshape(turned.shape)
        return np.ascontiguousarray(rounded.T if self.columns else rounded)


UNITS: Final = (
    Unit(name="tensor", whole=True),
    Unit(name="row"),
    Unit(name="column", columns=True),
    Unit(name="128 along rows", size=128),
    Unit(name="64 along rows", size=64),
    Unit(name="32 along rows", size=32),
    Unit(name="128 along columns", columns=True, size=128),
    Unit(name="32 along columns", columns=True, size=32),
)


def symmetric(bits: int) -> Callable[[Matrix], Matrix]:
    """Round to ``scale * q``, the largest magnitude at the end."""

    def rounding(groups: Matrix) -> Matrix:
        scale = np.abs(groups).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
        result: Matrix = np.rint(groups / np.where(scale == 0, 1, scale)) * scale
        return result

    return rounding


def asymmetric(bits: int) -> Callable[[Matrix], Matrix]:
    """Round to ``scale * (q - zero point)`` with a whole zero point."""

    def rounding(groups: Matrix) -> Matrix:
        low = np.minimum(groups.min(axis=1, keepdims=True), 0)
        scale = (np.maximum(groups.max(axis=1, keepdims=True), 0) - low) / (2**bits - 1)
        scale = np.where(scale == 0, 1, scale)
        zero = np.rint(-low / scale)
        result: Matrix = (np.clip(np.rint(groups / scale) + zero, 0, 2**bits - 1) - zero) * scale
        return result

    return rounding


def offset(bits: int) -> Callable[[Matrix], Matrix]:
    """Round to ``lowest + scale * q``; zero is on no lattice."""

    def rounding(groups: Matrix) -> Matrix:
        low = groups.min(axis=1, keepdims=True)
        scale = (groups.max(axis=1, keepdims=True) - low) / (2**bits - 1)
        result: Matrix = np.rint((groups - low) / np.where(scale == 0, 1, scale)) * scale + low
        return result

    return rounding


def nf4(groups: Matrix) -> Matrix:
    """Round to QLoRA's codebook, scaled by the largest magnitude."""
    scale = np.abs(groups).max(axis=1, keepdims=True)
    middles = (NF4[1:] + NF4[:-1]) / 2
    result: Matrix = NF4[np.searchsorted(middles, groups / np.where(scale == 0, 1, scale))] * scale
    return result


def kmeans(entries: int) -> Callable[[Matrix], Matrix]:
    """Round to centres of clusters of all values (Lloyd's rounds from quantiles)."""

    def rounding(groups: Matrix) -> Matrix:
        centres = np.quantile(groups, (np.arange(entries) + 0.5) / entries)
        some = groups.reshape(-1)[:KMEANS_SAMPLE]
        for _ in range(KMEANS_ROUNDS):
            nearest = np.searchsorted((centres[1:] + centres[:-1]) / 2, some)
            counts = np.bincount(nearest, minlength=entries)
            sums = np.bincount(nearest, some, entries)
            centres = np.sort(np.where(counts > 0, sums / np.maximum(counts, 1), centres))
        result: Matrix = centres[np.searchsorted((centres[1:] + centres[:-1]) / 2, groups)].astype(np.float32)
        return result

    return rounding


def fp8(groups: Matrix) -> Matrix:
    """Round to the floats of E4M3, scaled by the largest magnitude."""
    scale = np.abs(groups).max(axis=1, keepdims=True) / FP8_LARGEST
    scale = np.where(scale == 0, 1, scale)
    _, exponents = np.frexp(groups / scale)
    steps = np.ldexp(1.0, np.maximum(exponents, FP8_SMALLEST_EXPONENT) - FP8_BITS)
    result: Matrix = np.rint(groups / scale / steps) * steps * scale
    return result


def schemes() -> Iterator[tuple[str, str, Unit, Callable[[Matrix], Matrix]]]:
    """Bits, form, unit and rounding of every kind of quantisation."""
    for bits in (4, 8):
        for form in (symmetric, asymmetric, offset):
            yield from ((f"{bits}-bit", form.__name__, unit, form(bits)) for unit in UNITS)
    tensor, row, *_ = UNITS
    yield "4-bit", "NF4", Unit(name="64 along rows", size=64), nf4
    yield "4-bit", "k-means, 16 entries", tensor, kmeans(16)
    yield "4-bit", "k-means by row, 16 entries", row, lambda rows: np.stack([kmeans(16)(one[None])[0] for one in rows])
    yield "8-bit", "k-means, 256 entries", tensor, kmeans(256)
    yield "8-bit", "FP8 E4M3", row, fp8
