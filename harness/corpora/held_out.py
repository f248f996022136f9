"""Held-out text for the judge: read through a door of its own, so that it is in no step's ledger."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from harness.corpora.door import DataDoor, DoorSettings, Split
from harness.errors import DataNotAllowed

if TYPE_CHECKING:
    from harness.corpora.rows import Sample


def held_out_samples(settings: DoorSettings, name: str, split: Split, count: int) -> tuple[Sample, ...]:
    """The first ``count`` samples of a held-out split, or all of them where the copy has fewer.

    The same settings always give the same samples. How many there are is for the caller to state beside the score.

    Raises:
        DataNotAllowed: the data set is unknown or cannot be read, or holds out nothing.
    """
    samples = tuple(islice(DataDoor(settings).open(name, split=split), count))
    if not samples:
        raise DataNotAllowed(
            f"data set {name!r}: split {split!r} is empty; one row in 32 is held out, give a larger copy"
        )
    return samples
