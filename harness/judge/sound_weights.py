"""Weights that are numbers, before anything is asked of them: a NaN raises no error, it only answers wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.checkpoint.blocks import available_processors
from harness.checkpoint.scan import scan
from harness.errors import MeasurementFailed

if TYPE_CHECKING:
    from pathlib import Path

SHOWN = 3


def refuse_broken(checkpoint: Path, label: str) -> None:
    """Look at every weight of the folder ``checkpoint``.

    Raises:
        MeasurementFailed: one is NaN or infinite; the message names tensors and counts.
        CheckpointCorrupt: the files are no weights.
    """
    broken = [tensor for tensor in scan(checkpoint, workers=available_processors()).tensors if tensor.nonfinite_count]
    if broken:
        shown = "; ".join(f"{one.name}: {one.nonfinite_count} in {one.shard}" for one in broken[:SHOWN])
        rest = f"; and {len(broken) - SHOWN} tensors more" if len(broken) > SHOWN else ""
        raise MeasurementFailed(
            f"{label} ({checkpoint}): has weights that are NaN or infinite, so it has no score: {shown}{rest}"
        )
