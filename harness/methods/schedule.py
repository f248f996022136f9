r"""Learning rates as pure functions of the optimizer step.

    peak |   ____                     |   _______________
         |  /    ``--.                |  /               \
         | /          ``--..          | /                 \
    floor|/                ``         |/                   \
          warmup   half a cosine       warmup   stable   decay

``warmup_cosine`` is SGDR's one period (arXiv 1608.03983) behind a warm-up; ``warmup_stable_decay`` is MiniCPM's
(arXiv 2404.06395, section 4) with a straight fall, ``warmup_stable_half_life`` with the exponential one that it trains
with. Steps are counted from 0; the step before the first one after training would have rate ``floor_fraction * peak``.
"""

from __future__ import annotations

import math


def warmup_cosine(step: int, *, peak: float, step_count: int, warmup_count: int, floor_fraction: float = 0.0) -> float:
    """Rate of ``step``: up to ``peak`` in ``warmup_count`` steps, then down half a cosine to the floor."""
    if step < warmup_count:
        return peak * (step + 1) / warmup_count
    done = (step - warmup_count) / max(1, step_count - warmup_count)
    return peak * (floor_fraction + (1 - floor_fraction) * (1 + math.cos(math.pi * min(done, 1.0))) / 2)


def warmup_stable_decay(  # noqa: PLR0913 - the schedule's five numbers, by name
    step: int, *, peak: float, step_count: int, warmup_count: int, decay_count: int, floor_fraction: float = 0.0
) -> float:
    """Rate of ``step``: up to ``peak``, level, then down a line to the floor in the last ``decay_count`` steps."""
    if step < warmup_count:
        return peak * (step + 1) / warmup_count
    left = min(1.0, max(0.0, (step_count - step) / max(1, decay_count)))
    return peak * (floor_fraction + (1 - floor_fraction) * left)


def warmup_stable_half_life(
    step: int, *, peak: float, warmup_count: int, decay_start: int, half_life_count: float
) -> float:
    """Rate of ``step``: up to ``peak``, level until ``decay_start``, then half as much every ``half_life_count`` steps.

    MiniCPM's ``f(s - T) = 0.5 ** ((s - T) / H)``; the paper prints one letter for two of its numbers, and ``H`` as a
    half-life is our reading.
    """
    if step < warmup_count:
        return peak * (step + 1) / warmup_count
    return float(peak * 0.5 ** (max(0, step - decay_start) / half_life_count))
