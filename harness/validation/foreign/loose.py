"""A checkpoint that no record speaks of: a Hugging Face folder in an entry made elsewhere.

The checks on weights look at its files as at any final checkpoint's. What a record would claim, nobody claims: the
rules that hold files against claims are not asked of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.checkpoint.checkpoint import MAX_CONFIG_BYTES
from harness.submission.model_result import CheckpointRecord
from harness.validation import strict_json
from harness.validation.foreign.kind import CHECKPOINT_CONFIG, checkpoint_folders
from harness.validation.listing import Unreadable, read_plain
from harness.validation.weights import Weights

if TYPE_CHECKING:
    from harness.validation.listing import Listing

UNSTATED: Final = CheckpointRecord(
    checkpoint_digest="0" * 64, parameter_count=0, weights_bytes=0, dtypes=(), files=(), location=None
)
"""The record of a checkpoint that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LooseWeights(Weights):
    """A checkpoint without a record; findings call its files by their place in the entry."""

    def file(self, name: str) -> str:
        """``name`` as it stands in the entry."""
        return f"{self.field}/{name}".strip("/") or "."


def loose_weights(listing: Listing) -> tuple[LooseWeights, ...]:
    """Every folder of the entry that holds a model, plain files and plain JSON; the others have findings already."""
    return tuple(
        LooseWeights(
            model=folder.rpartition("/")[2] or listing.root.name,
            role="final",
            field=folder,
            record=UNSTATED,
            folder=listing.root / folder,
        )
        for folder in checkpoint_folders(listing.files)
        if _is_plain(listing, folder) and _has_weights(listing, folder) and _has_plain_json(listing, folder)
    )


def _is_plain(listing: Listing, folder: str) -> bool:
    """Whether no link or device stands in ``folder``: readers of checkpoints open what has the right name."""
    return not any(name.rpartition("/")[0] == folder for name in listing.links)


def _has_weights(listing: Listing, folder: str) -> bool:
    """Whether a file of ``folder`` holds tensors: a source tree may hold a bare ``config.json``."""
    inner = (name for name in listing.files if name.rpartition("/")[0] == folder)
    return folder == "" or any(name.endswith((".safetensors", ".safetensors.index.json")) for name in inner)


def _has_plain_json(listing: Listing, folder: str) -> bool:
    """Whether the settings are JSON within our bounds: readers of checkpoints parse them again and again."""
    try:
        strict_json.parse(read_plain(listing.root / folder / CHECKPOINT_CONFIG, max_bytes=MAX_CONFIG_BYTES))
    except (Unreadable, strict_json.NotJson):
        return False  # hostile.json says so
    return True
