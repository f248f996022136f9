"""Which mixture is trained on when: a pure function from tokens to weights.

    share of the tokens   0 ────────────── 0.8 ──── 0.9 ── 1
    mixture               coarse chunks    better    better, and instructions        (stable stage, then decay)

MiniCPM (arXiv 2404.06395) adds data of high quality in the decay stage; the winner of track scratch changes the shares
of its quality chunks there as well, by numbers that are not published. The phases are the recipe's.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from harness.corpora.mixture import check_mixture
from harness.document import Document

if TYPE_CHECKING:
    from harness.corpora.mixture import Mixture, Stage

Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Phase(Document):
    """One mixture, up to a share of the tokens."""

    until: float = Field(gt=0, le=1)
    """Share of the tokens at which it ends."""
    mixture: dict[str, Weight] = Field(min_length=1)
    """Short name to weight."""


class Curriculum(Document):
    """Phases, one after the other, to the end."""

    phases: tuple[Phase, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        ends = [0.0, *(phase.until for phase in self.phases)]
        if any(first >= second for first, second in pairwise(ends)) or ends[-1] != 1:
            raise ValueError(f"phases must end one after the other, the last at 1, found {ends[1:]}")
        return self

    def mixture_at(self, tokens: int, total: int) -> Mixture:
        """What the token number ``tokens``, from 0, of ``total`` is mixed from."""
        if not 0 <= tokens < total:
            raise ValueError(f"token must be in 0..{total - 1}, got {tokens}")
        ends = 0
        for count, mixture in self.stages(total):
            ends += count
            if tokens < ends:
                return mixture
        raise AssertionError  # the stages have ``total`` tokens

    def stages(self, total: int) -> tuple[Stage, ...]:
        """Tokens and mixture of each phase, of ``total`` tokens; a phase without a whole token is left out."""
        ends = [0, *(round(phase.until * total) for phase in self.phases)]
        counted = zip(pairwise(ends), self.phases, strict=True)
        return tuple((end - start, check_mixture(phase.mixture)) for (start, end), phase in counted if end > start)
