"""Zeros among weights: smallest first, N of every M, or so that the outputs suffer least (SparseGPT, arXiv 2301.00774).

    W [out, in] ──scores──> mask [out, in], True where a weight stays
    W, H = 2/N sum x x^T ──columns from left to right, what each loses made up for by those after──> W', sparse

Stored dense, as FP16 zeros: no byte is saved and nothing runs faster, which is why this is research and no entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from harness.methods.moments import Moments

DAMPING: Final = 0.01
"""Added to the Hessian's diagonal, as a share of its mean (``percdamp``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """``zeros`` of every ``of`` weights of a row go: 2:4 has 2 of 4."""

    zeros: int
    of: int

    def __post_init__(self) -> None:
        """Raise ``ValueError`` where more would go than there are."""
        if not 0 <= self.zeros <= self.of or self.of < 1:
            raise ValueError(f"a pattern must have 0 <= zeros <= of, of >= 1, got {self.zeros} of {self.of}")


def magnitude_mask(weight: Tensor, sparsity: float) -> Tensor:
    """True for all but the smallest ``sparsity`` of the weights of the whole matrix, ``[out, in]``, bool."""
    return _all_but_lowest(weight.abs(), sparsity)


def pattern_mask(scores: Tensor, pattern: Pattern) -> Tensor:
    """True for all but the ``zeros`` lowest of every ``of`` neighbours in a row, ``[out, in]``, bool.

    Raises:
        ValueError: rows are no multiple of ``of`` long.
    """
    if scores.shape[1] % pattern.of:
        raise ValueError(f"rows must be a multiple of {pattern.of} long, got {scores.shape[1]}")
    groups = scores.reshape(len(scores), -1, pattern.of)
    lowest = groups.argsort(dim=-1, stable=True)[..., : pattern.zeros]
    return torch.ones_like(groups, dtype=torch.bool).scatter(-1, lowest, value=False).flatten(1)


def sparse_gpt(
    weight: Tensor, moments: Moments, how: float | Pattern, *, block: int = 128, damping: float = DAMPING
) -> Tensor:
    """``weight [out, in]`` with zeros, its other weights moved to make up for them; float32.

    Args:
        weight: Of a linear.
        moments: Of what goes into it.
        how: The share of zeros in each block of columns, or a pattern.
        block: Columns whose zeros are chosen at once.
        damping: Share of the mean of the Hessian's diagonal that is added to it.

    Raises:
        ValueError: the share is not in 0..1, or a pattern does not fit the block.
    """
    if isinstance(how, Pattern) and block % how.of:
        raise ValueError(f"block must be a multiple of the pattern's {how.of}, got {block}")
    left = weight.double().clone()
    hessian = 2 / moments.token_count * moments.gram.to(left.device)
    is_dead = hessian.diagonal() == 0
    left[:, is_dead] = 0
    factor = _inverse_factor(hessian, is_dead, damping)
    made = torch.empty_like(left)
    for start in range(0, left.shape[1], block):
        span = slice(start, start + block)
        made[:, span], errors = _pruned_block(left[:, span].clone(), factor[span, span], how)
        left[:, start + block :] -= errors @ factor[span, start + block :]
    return made.float()


def _inverse_factor(hessian: Tensor, is_dead: Tensor, damping: float) -> Tensor:
    """The upper Cholesky factor of the inverse of the damped Hessian."""
    diagonal = hessian.diagonal()
    mean = diagonal.mean().clamp(min=torch.finfo(torch.float64).tiny)
    damped = hessian + torch.diag(damping * mean + is_dead.double() * mean)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor


def _pruned_block(weights: Tensor, factor: Tensor, how: float | Pattern) -> tuple[Tensor, Tensor]:
    """The block with zeros, and each column's error in units of its diagonal, for the columns to the right."""
    scores = (weights / factor.diagonal()) ** 2
    mask = pattern_mask(scores, how) if isinstance(how, Pattern) else _all_but_lowest(scores, how)
    made, errors = torch.empty_like(weights), torch.empty_like(weights)
    for column in range(weights.shape[1]):
        made[:, column] = weights[:, column] * mask[:, column]
        errors[:, column] = (weights[:, column] - made[:, column]) / factor[column, column]
        weights[:, column:] -= errors[:, column : column + 1] * factor[column, column:]
    return made, errors


def _all_but_lowest(scores: Tensor, share: float) -> Tensor:
    if not 0 <= share <= 1:
        raise ValueError(f"sparsity must be in 0..1, got {share}")
    lowest = scores.flatten().argsort(stable=True)[: round(share * scores.numel())]
    mask: Tensor = torch.ones(scores.numel(), dtype=torch.bool, device=scores.device)
    mask[lowest] = False
    made: Tensor = mask.view(scores.shape)
    return made
