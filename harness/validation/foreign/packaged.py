"""MLC packages of an entry made elsewhere, held against the checkpoints that stand beside them in the entry.

    package, sound in itself ──┬── each checkpoint of the entry ──> names, values, settings, tokenizer: bit for bit
                               └── is one of them what it packs? if none is, what differs from the nearest is told

Without a checkpoint in the entry nothing is compared: what a package computes is not known from the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from harness.deployment.mlc.check import check_mlc
from harness.errors import CheckpointCorrupt, UsageError
from harness.validation.catalogue import finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harness.rules.finding import Finding
    from harness.validation.foreign.package import Package
    from harness.validation.weights import Weights

RULES: Final = ("mlc.names", "mlc.settings", "mlc.tokenizer", "mlc.values")
"""What only a comparison with the checkpoint can find; the others were said when the package was read."""


@dataclass(frozen=True)
class PackageComparison:
    """The packages and checkpoints of an entry, compared once, when the first check asks."""

    root: Path
    """Of the entry."""
    packages: Sequence[Package]
    weights: Sequence[Weights]

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Everything in which a package of the entry is not one of the entry's checkpoints."""
        checkpoints = [one.folder for one in self.weights if one.folder is not None]
        return tuple(
            found
            for package in self.packages
            if package.index is not None and not package.findings
            for found in _nearest(self.root / package.folder, package.folder, checkpoints)
        )


def _nearest(folder: Path, name: str, checkpoints: Sequence[Path]) -> Iterator[Finding]:
    compared = [found for checkpoint in checkpoints if (found := _compared(folder, checkpoint)) is not None]
    for one in min(compared, key=len, default=()):
        place = one.place.model_copy(update={"file": f"{name}/{one.place.file}" if name else one.place.file})
        yield finding(one.rule, place, one.message, found=one.found, allowed=one.allowed, severity=one.severity)


def _compared(folder: Path, checkpoint: Path) -> tuple[Finding, ...] | None:
    """None where the checkpoint is none that MLC has names for, or is not whole; other rules say the latter."""
    try:
        found = check_mlc(folder, checkpoint)
    except (CheckpointCorrupt, UsageError):
        return None
    return tuple(one for one in found if one.rule in RULES)
