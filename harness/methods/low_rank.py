r"""A linear as the product of two smaller ones, cut where its output changes least.

    M = D^-1 W S        W [out, in];  S: how inputs weigh;  D: how outputs weigh
    M ~ U_r s_r V_r^T   the best of rank r in the Frobenius norm
    W ~ A B,            A = D U_r s_r^(1/2),  B = s_r^(1/2) V_r^T S^-1

    S                                D                  the error that is smallest
    1                                1                  |W - AB|                      plain
    diag(mean |x|)^alpha             1                  ASVD (Yuan et al. 2023)
    L, with L L^T = sum of x x^T     1                  |(W - AB) X|                  whitened: SVD-LLM (Wang 2024)
    L                                diag(mean |y|)^p   |D^-1 (W - AB) X|             relative by output: NICS-EffAlg

Directions are sorted, so a factorisation is made once and every smaller rank is a slice of it.

Not by a full SVD: with ``M^T M = V s^2 V^T`` (the smaller side) the factors are ``M V`` and ``V^T``. ``V`` is
orthogonal to the precision of the arithmetic whatever its eigenvalues are, so a full rank gives ``M`` back, and what a
rank drops is that of a full SVD as long as squares of singular values are told apart: in FP64 down to 1e-8 of the
largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import torch

from harness.errors import MeasurementFailed

if TYPE_CHECKING:
    from torch import Tensor

Split = Literal["balanced", "both", "left", "right"]
"""Where singular values go: ``both`` puts their roots into A and B, ``left`` all into A, ``right`` all into B.
``balanced`` moves scale between the two until every direction has the same norm in A and in B: whitened singular values
grow with the calibration, so ``both`` leaves an A that is large and a B that is as much too small, which neither an
optimizer with one learning rate nor FP16 takes well."""
Method = Literal["gram", "svd"]

DAMPING: Final = 1e-6
"""Share of the mean diagonal that is added to a Gram matrix without a Cholesky factor, times ten each try."""
DAMPING_TRIES: Final = 8
TINY: Final = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True)
class Factorisation:
    """Both factors up to the largest rank that was asked for, the strongest direction first."""

    left: Tensor
    """A ``[out, rank]``, float32."""
    right: Tensor
    """B ``[rank, in]``, float32."""
    singular_values: Tensor
    """Of the scaled weight, ``[rank]``, float64, descending."""
    energy: float
    """Sum of all squared singular values, also of those past the largest rank."""

    @property
    def rank(self) -> int:
        """The largest rank."""
        return self.left.shape[1]

    def cut(self, rank: int) -> tuple[Tensor, Tensor]:
        """A and B of a smaller rank: views.

        Raises:
            ValueError: ``rank`` is not in 1..the largest.
        """
        if not 1 <= rank <= self.rank:
            raise ValueError(f"rank must be in 1..{self.rank}, got {rank}")
        return self.left[:, :rank], self.right[:rank]

    def dropped_energy(self) -> Tensor:
        """Squared error of every rank from 0 on, ``[rank + 1]``, float64, in the scaled norm."""
        kept = torch.cat([torch.zeros(1, dtype=torch.float64), self.singular_values.square().cumsum(0)])
        return (self.energy - kept).clamp(min=0.0)


def factorise(  # noqa: PLR0913 - the request of a library function, all but the weight by name
    weight: Tensor,
    *,
    inputs: Tensor | None = None,
    outputs: Tensor | None = None,
    largest_rank: int | None = None,
    split: Split = "balanced",
    method: Method = "gram",
    precision: torch.dtype = torch.float64,
) -> Factorisation:
    """The factors of ``weight`` that keep the scaled error smallest at every rank.

    Args:
        weight: ``[out, in]``, any float dtype.
        inputs: S: ``[in]`` (a diagonal) or ``[in, in]`` (lower triangular); None for 1.
        outputs: D: ``[out]``, positive; None for 1.
        largest_rank: Directions to keep; None for all of ``min(out, in)``.
        split: Where the singular values go.
        method: ``svd`` is the slow way to the same factors, to be compared with.
        precision: Of the decomposition; float32 costs about half and tells singular values apart down to 3e-4 of the
            largest.

    Raises:
        ValueError: a shape that does not fit, or a rank out of range.
        MeasurementFailed: the scaled weight is not finite.
    """
    out_count, in_count = weight.shape
    most = min(out_count, in_count)
    rank = most if largest_rank is None else largest_rank
    if not 1 <= rank <= most:
        raise ValueError(f"largest_rank must be in 1..{most}, got {rank}")
    _check_scales(weight, inputs, outputs)
    exact = weight.to(torch.float64 if inputs is not None else precision)
    scaled = _scaled(exact, inputs, outputs).to(precision)
    if not bool(torch.isfinite(scaled).all()):
        raise MeasurementFailed("a weight is not finite once it is scaled for its factorisation; are the statistics?")
    left, right, values = (_by_gram if method == "gram" else _by_svd)(scaled, rank)
    left, right = _shared(left.double(), right.double(), values.double(), split)
    left = left if outputs is None else outputs.to(left)[:, None] * left
    right = _unscaled(right, inputs)
    if split == "balanced":
        left, right = _balanced(left, right)
    return Factorisation(
        left=left.float().contiguous(),
        right=right.float().contiguous(),
        singular_values=values.double(),
        energy=float(scaled.double().square().sum()),
    )


def whitening(gram: Tensor, *, damping: float = DAMPING) -> Tensor:
    """L ``[in, in]``, lower triangular, float64, with ``L L^T = gram``: inputs by which all directions weigh alike.

    A Gram matrix of fewer tokens than inputs, or of inputs that depend on each other, has no such factor. Then
    ``damping`` times its mean diagonal is added to the diagonal, ten times as much with each of eight tries, and L
    belongs to that matrix. (The original adds the least eigenvalue, which is another decomposition.)

    Args:
        gram: Sum of x x^T, ``[in, in]``.
        damping: Of the first try that is not without.

    Raises:
        MeasurementFailed: it is not finite, or far from positive definite.
    """
    exact = gram.to(torch.float64)
    mean = float(exact.diagonal().mean())
    for added in (0.0, *(damping * 10.0**power for power in range(DAMPING_TRIES))):
        damped = exact if added == 0.0 else exact + added * mean * torch.eye(len(exact)).to(exact)
        factor: Tensor
        factor, failed = torch.linalg.cholesky_ex(damped)
        if not int(failed) and bool(torch.isfinite(factor).all()):
            return factor
    raise MeasurementFailed(
        f"the second moments of {len(exact)} inputs (mean diagonal {mean:g}) have no Cholesky factor, also with "
        f"{damping * 10.0 ** (DAMPING_TRIES - 1):g} of the mean diagonal added; is the calibration finite?"
    )


def activation_scale(mean_magnitude: Tensor, *, alpha: float = 0.5, floor: float = 1e-6) -> Tensor:
    """ASVD's weight of every input, ``[in]``, float64: ``(mean |x|)^alpha``, never below ``floor``."""
    return mean_magnitude.to(torch.float64).pow(alpha) + floor


def output_scale(magnitude: Tensor, *, floor_fraction: float = 1e-3) -> Tensor:
    """NICS's weight of every output, ``[out]``, float64: what calibration found, no less than a share of its mean.

    Args:
        magnitude: ``[out]``, as ``moments.Moments.output_magnitude``; an output that is always zero would divide by it.
        floor_fraction: Of the mean.
    """
    exact = magnitude.to(torch.float64)
    return exact.clamp(min=max(float(exact.mean()) * floor_fraction, TINY))


def break_even_rank(out_count: int, in_count: int) -> int:
    """The largest rank whose factors have fewer weights than the matrix."""
    return (out_count * in_count - 1) // (out_count + in_count)


def rank_of_fraction(out_count: int, in_count: int, fraction: float) -> int:
    """The rank whose factors have at most ``fraction`` of the matrix's weights (NICS: ``int``), at least 1."""
    return max(1, min(int(out_count * in_count * fraction / (out_count + in_count)), out_count, in_count))


def _check_scales(weight: Tensor, inputs: Tensor | None, outputs: Tensor | None) -> None:
    out_count, in_count = weight.shape
    if inputs is not None and inputs.shape not in {(in_count,), (in_count, in_count)}:
        raise ValueError(f"inputs must be [{in_count}] or [{in_count}, {in_count}], got {list(inputs.shape)}")
    if outputs is not None and outputs.shape != (out_count,):
        raise ValueError(f"outputs must be [{out_count}], got {list(outputs.shape)}")
    if outputs is not None and not bool((outputs > 0).all()):
        raise ValueError(f"outputs must be positive, got one of {float(outputs.min()):g}")


def _scaled(weight: Tensor, inputs: Tensor | None, outputs: Tensor | None) -> Tensor:
    if inputs is not None:
        weight = weight * inputs.to(weight) if inputs.ndim == 1 else weight @ inputs.to(weight)
    return weight if outputs is None else weight / outputs.to(weight)[:, None]


def _unscaled(right: Tensor, inputs: Tensor | None) -> Tensor:
    """``right`` times the inverse of ``inputs``."""
    if inputs is None:
        return right
    if inputs.ndim == 1:
        return right / inputs.to(right)
    solved: Tensor = torch.linalg.solve_triangular(inputs.to(right), right, upper=False, left=False)
    return solved


def _by_gram(scaled: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """``U s [out, rank]``, ``V^T [rank, in]`` and ``s``, or ``U`` and ``s V^T`` where there are fewer outputs."""
    if scaled.shape[0] < scaled.shape[1]:
        right, left, values = _by_gram(scaled.T, rank)
        return left.T, right.T, values
    _, vectors = torch.linalg.eigh(scaled.T @ scaled)
    strongest = vectors[:, -rank:].flip(1)  # [in, rank]
    left = scaled @ strongest
    values = left.norm(dim=0)
    # Norms are more exact than roots of eigenvalues; at the noisy end their order may differ.
    order = values.argsort(descending=True, stable=True)
    return left[:, order], strongest.T[order], values[order]


def _by_svd(scaled: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    left, values, right = torch.linalg.svd(scaled, full_matrices=False)
    return left[:, :rank] * values[:rank], right[:rank], values[:rank]


def _shared(left: Tensor, right: Tensor, values: Tensor, split: Split) -> tuple[Tensor, Tensor]:
    """The same product with singular values where ``split`` wants them, whichever side has them now."""
    safe = values.clamp(min=TINY)
    unit_left = left / left.norm(dim=0).clamp(min=TINY)
    unit_right = right / right.norm(dim=1).clamp(min=TINY)[:, None]
    match split:
        case "left":
            return unit_left * safe, unit_right
        case "right":
            return unit_left, safe[:, None] * unit_right
        case "both" | "balanced":
            return unit_left * safe.sqrt(), safe.sqrt()[:, None] * unit_right


def _balanced(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """The same product with equal norms of each direction."""
    sizes = left.norm(dim=0).clamp(min=TINY), right.norm(dim=1).clamp(min=TINY)
    scale = (sizes[1] / sizes[0]).sqrt()
    return left * scale, right / scale[:, None]
