"""Does a package, in a fresh process and from the disk, compute what its checkpoint computes? No torch here.

check_package ── request ──> harness.deployment.check_worker
                                package: every file against the manifest, tokenizer, stop ids, load
                                both: logits on the same token ids, FP32
              <── PackageCheck ─┘
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from harness.channel import ContainedRequest, call
from harness.document import Document
from harness.errors import EngineFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.containment import Event, Limits

WORKER = "harness.deployment.check_worker"
PROMPT_TOKENS = 64


class PackageCheckRequest(ContainedRequest):
    """Compare a package with the checkpoint that it was made from."""

    checkpoint: str
    package: str
    prompt_tokens: int = Field(gt=0)


class PackageCheck(Document):
    """What the comparison found; a package that does not even load is an error instead."""

    token_count: int
    """Positions that were compared."""
    largest_logit: float
    """Largest magnitude of the checkpoint's logits, for scale."""
    largest_difference: float
    """Largest difference between two logits of the same place; 0 for the same weights and the same code."""
    same_choices: bool
    """Whether the most likely next token is the same at every position."""


def check_package(
    checkpoint: Path, package: Path, *, work_dir: Path, limits: Limits, on_event: Callable[[Event], None]
) -> PackageCheck:
    """Load ``package`` in a fresh process and compare its logits with those of ``checkpoint``.

    Raises:
        EngineFailed: the package does not load, is not whole, or its logits differ.
    """
    folder = work_dir.resolve()
    what = f"package {package.name}"
    request = PackageCheckRequest(
        result=str(folder / "result.json"),
        checkpoint=str(checkpoint.resolve()),
        package=str(package.resolve()),
        prompt_tokens=PROMPT_TOKENS,
    )
    found = call(
        WORKER, request, PackageCheck, what=what, failed=EngineFailed, limits=limits, work_dir=folder, on_event=on_event
    )
    if found.largest_difference != 0 or not found.same_choices:
        raise EngineFailed(
            f"{what}: its logits differ from the checkpoint's by up to {found.largest_difference:.3g} "
            f"(largest logit {found.largest_logit:.3g}), allowed 0: it is not a package of this checkpoint"
        )
    return found
