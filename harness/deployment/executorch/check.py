"""Does an ExecuTorch package, from the disk, compute what its checkpoint does? No torch here.

check_executorch ── request ──> harness.deployment.executorch.check_worker
                                   package: every file against the manifest, checkpoint digest, tokenizer, stop ids
                                   checkpoint in FP32: logits of a prompt and of 64 greedy tokens after it
                                   package: the same positions, by prefills of several lengths and by single steps
                  <── ExecutorchCheck ─┘ within the bound, and the same choices but where two tokens are as good

``check_executorch`` does it in a fresh process. The worker that makes a package does it in its own, after the last file
is written: the runtime is given paths and shares nothing with the exporter, and one start of torch is saved.

**The bound.** A model of ``L`` layers rounds its residual stream ``2 L`` times and its logits once, each to a relative
``u`` (2^-24 in FP32, 2^-11 in FP16); sums of ``D`` products in FP32, the longest of any linear, add ``2^-24 sqrt(D)``.
Errors of different roundings are independent, so they add as squares do:

    typical error = rms(logits) sqrt(2 L + 1) (u + 2^-24 sqrt(D))          bound = 16 x that, for the largest of all

Measured for random models of 0.1 and 127 million parameters, the largest of some 10^4 to 10^6 logits is off by 2 to 6
typical errors, an unrelated model by hundreds in FP16. Processors that add up in FP16 do worse.

**The choices.** Where logits are off by at most the bound, two tokens whose logits differ by at most twice the bound
may change places; any other difference of choices is a fault.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from pydantic import Field

from harness.channel import ContainedRequest, call
from harness.document import Document
from harness.errors import EngineFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.containment import Event, Limits

WORKER: Final = "harness.deployment.executorch.check_worker"
PROMPT_TOKENS: Final = 48
NEW_TOKENS: Final = 64
MARGIN: Final = 16.0
FP32_ROUNDING: Final = 2.0**-24
ROUNDING: Final = {"float16": 2.0**-11, "float32": FP32_ROUNDING}
"""Half the distance of neighbouring numbers, relative."""


class ExecutorchCheckRequest(ContainedRequest):
    """Compare a package with the checkpoint that it was made from."""

    checkpoint: str
    package: str
    prompt_tokens: int = Field(gt=0)
    new_tokens: int = Field(gt=0)


class ExecutorchCheck(Document):
    """What the comparison found; a package that does not even load is an error instead."""

    dtype: str
    position_count: int
    """Positions whose logits were compared."""
    new_token_count: int
    """Greedy tokens that were compared."""
    largest_logit: float
    """Largest magnitude of the checkpoint's logits, for scale."""
    largest_difference: float
    """Largest difference of two logits of the same place."""
    bound: float
    """What ``largest_difference`` may be."""
    first_difference: int | None
    """First greedy token, from 0, that the package chooses otherwise; None where all are the same."""
    largest_gap: float
    """By how much, at most, the checkpoint prefers its own token where the package chooses another."""

    @property
    def fault(self) -> str | None:
        """Why the package does not count; None where it does."""
        if not self.largest_difference <= self.bound:  # NaN is no match either
            return (
                f"its logits differ from the checkpoint's by up to {self.largest_difference:.3g} "
                f"(largest logit {self.largest_logit:.3g}), allowed {self.bound:.3g} in {self.dtype}"
            )
        if not self.largest_gap <= 2 * self.bound:
            return (
                f"it chooses another token where the checkpoint prefers its own by {self.largest_gap:.3g}, "
                f"allowed {2 * self.bound:.3g} in {self.dtype}"
            )
        return None

    @property
    def words(self) -> tuple[str, str]:
        """What was compared and came out right: the logits, the choices."""
        choices = "all" if self.first_difference is None else f"the first {self.first_difference}"
        logits = (
            f"logits at {self.position_count} positions within {self.largest_difference:.2g} of the checkpoint's, "
            f"allowed {self.bound:.2g} in {self.dtype} (largest logit {self.largest_logit:.3g})"
        )
        return logits, f"{self.new_token_count} greedy tokens: {choices} as the checkpoint's"


def logit_bound(dtype: str, *, layer_count: int, sum_length: int, logit_rms: float) -> float:
    """How far logits may be from the checkpoint's; see the top of this file."""
    rounding = ROUNDING[dtype] + FP32_ROUNDING * math.sqrt(sum_length)
    return MARGIN * rounding * math.sqrt(2 * layer_count + 1) * logit_rms


def check_executorch(
    checkpoint: Path, package: Path, *, work_dir: Path, limits: Limits, on_event: Callable[[Event], None]
) -> ExecutorchCheck:
    """Load ``package`` in a fresh process and compare its logits and choices with those of ``checkpoint``.

    Raises:
        EngineFailed: the package does not load, is not whole, or computes something else.
    """
    folder = work_dir.resolve()
    what = f"package {package.name}"
    request = ExecutorchCheckRequest(
        result=str(folder / "result.json"),
        checkpoint=str(checkpoint.resolve()),
        package=str(package.resolve()),
        prompt_tokens=PROMPT_TOKENS,
        new_tokens=NEW_TOKENS,
    )
    found = call(
        WORKER,
        request,
        ExecutorchCheck,
        what=what,
        failed=EngineFailed,
        limits=limits,
        work_dir=folder,
        on_event=on_event,
    )
    if found.fault is not None:
        raise EngineFailed(f"{what}: {found.fault}: it is not a package of this checkpoint")
    return found
