"""Many entries at once: a report for each, in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.validation.run import validate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.rules.edition import Edition
    from harness.validation.report import Report


def validate_all(
    paths: Sequence[Path], edition: Edition | None = None, *, weights: Path | None = None
) -> tuple[Report, ...]:
    """Validate every entry of ``paths``; what is no entry has a report that says so.

    Raises:
        UsageError: one of the paths is not there, said before any is read; or ``weights`` is no folder.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: expected an entry, found nothing of that name")
    return tuple(validate(path, edition, weights=weights) for path in paths)
