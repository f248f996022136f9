"""Hard-concrete gates (Louizos et al., arXiv 1712.01312) with the numbers of Sheared-LLaMA's masks (arXiv 2310.06694).

    training   u ~ U(e, 1 - e);  s = sigmoid((ln u - ln(1 - u) + a) / b);  z = clamp(s (r - l) + l, 0, 1)
    P(z > 0)   1 - sigmoid(b ln(-l / r) - a)
    after      z = sigmoid(0.8 a / b), the smallest ones zero

``a`` is the learned log-alpha of a unit, ``b`` the temperature, ``(l, r)`` the stretch that puts mass on 0 and on 1.
"""

from __future__ import annotations

import math
from typing import Final

import torch

TEMPERATURE: Final = 2 / 3
STRETCH: Final = (-0.1, 1.1)
EPSILON: Final = 1e-6
SHARPNESS: Final = 0.8
"""Of the gates after training."""
LOG_ALPHA_BOUNDS: Final = (math.log(1e-2), math.log(1e2))


def sample(log_alpha: torch.Tensor) -> torch.Tensor:
    """Gates in 0..1 of the shape of ``log_alpha``, drawn from torch's generator; exactly 0 or 1 with some chance."""
    drawn = torch.rand_like(log_alpha).clamp(EPSILON, 1 - EPSILON)
    soft = torch.sigmoid((torch.logit(drawn) + log_alpha) / TEMPERATURE)
    low, high = STRETCH
    return (soft * (high - low) + low).clamp(0, 1)


def open_probability(log_alpha: torch.Tensor) -> torch.Tensor:
    """The chance that a gate is not exactly 0."""
    low, high = STRETCH
    chance = 1 - torch.sigmoid(TEMPERATURE * math.log(-low / high) - log_alpha)
    return chance.clamp(EPSILON, 1 - EPSILON)


def deterministic(log_alpha: torch.Tensor, keep_count: int) -> torch.Tensor:
    """The gates after training: the ``keep_count`` largest as they are, the others 0; of equal ones the first stay."""
    soft = torch.sigmoid(log_alpha / TEMPERATURE * SHARPNESS)
    kept = torch.sort(log_alpha.detach(), descending=True, stable=True).indices[:keep_count]
    return soft * torch.zeros_like(soft).index_fill(0, kept, 1.0)
