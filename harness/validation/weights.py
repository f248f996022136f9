"""Where the checkpoints of a record are: in the bundle, or in the folder of checkpoints that the caller names.

A location is followed only where it stays inside those folders. Where it leads to nothing, a checkpoint in the named
folder with the same file names, sizes and digest is the same checkpoint, wherever it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.checkpoint import checkpoint, shards
from harness.checkpoint.checkpoint import CheckpointFile, files_digest, sha256_of
from harness.validation.listing import Listing, list_folder, stays_inside

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harness.checkpoint.shards import Layout
    from harness.submission.model_result import CheckpointRecord, CheckpointRole
    from harness.submission.schema import Submission

MAX_LISTED = 20_000
MAX_DEPTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One checkpoint of the record."""

    model: str
    role: CheckpointRole
    field: str
    """Where the record names it, e.g. ``models.0.checkpoints.2.checkpoint``."""
    record: CheckpointRecord
    folder: Path | None
    """Where it stands; none where it could not be found."""

    def require_folder(self) -> Path:
        """The folder; for callers that have seen that there is one."""
        if self.folder is None:
            raise ValueError(f"the {self.role} checkpoint of {self.model} was not found")
        return self.folder

    def file(self, name: str) -> str:
        """How findings call its file ``name``: ``<model>.<role>/<name>``, wherever the folder stands."""
        return f"{self.model}.{self.role}/{name}".rstrip("/")


def read_layout(weights: Weights) -> Layout:
    """The headers of its shards; raises ``CheckpointCorrupt``."""
    return shards.read_layout(weights.require_folder())


def read_config(weights: Weights) -> dict[str, Any]:
    """Its ``config.json``; raises ``CheckpointCorrupt``."""
    return checkpoint.read_config(weights.require_folder())


def locate(submission: Submission | None, bundle: Path, weights: Path | None) -> tuple[Weights, ...]:
    """Every checkpoint of ``submission`` with its folder, where there is one in ``bundle`` or in ``weights``."""
    if submission is None:
        return ()
    search = _Search(bundle, weights)
    return tuple(
        Weights(
            model=model.name,
            role=result.role,
            field=f"models.{m}.checkpoints.{c}.checkpoint",
            record=result.checkpoint,
            folder=search.find(result.checkpoint),
        )
        for m, model in enumerate(submission.models)
        for c, result in enumerate(model.checkpoints)
    )


class _Search:
    """Looks for checkpoints; the named folder is walked at most once, and only if a location leads nowhere."""

    def __init__(self, bundle: Path, weights: Path | None) -> None:
        self._bundle = bundle
        self._weights = weights

    def find(self, record: CheckpointRecord) -> Path | None:
        if record.location is not None:
            for root in [root for root in (self._weights, self._bundle) if root is not None]:
                folder = stays_inside(root, record.location)
                if folder is not None and _is_plain(folder / "config.json"):
                    return folder
        return next(self._equal(record), None)

    def _equal(self, record: CheckpointRecord) -> Iterator[Path]:
        sizes = {file.name: file.size_bytes for file in record.files}
        for folder, found in self._candidates:
            if found == sizes and _digest(folder, sorted(sizes)) == record.checkpoint_digest:
                yield folder

    @cached_property
    def _candidates(self) -> Sequence[tuple[Path, dict[str, int]]]:
        """Folders with a ``config.json`` and the sizes of their files."""
        if self._weights is None:
            return ()
        listing = list_folder(self._weights, max_files=MAX_LISTED, max_depth=MAX_DEPTH)
        return [(self._weights / name if name else self._weights, sizes) for name, sizes in _by_folder(listing)]


def _by_folder(listing: Listing) -> Iterator[tuple[str, dict[str, int]]]:
    folders: dict[str, dict[str, int]] = {}
    for name, size_bytes in listing.files.items():
        folder, _, leaf = name.rpartition("/")
        if not leaf.startswith("."):
            folders.setdefault(folder, {})[leaf] = size_bytes
    return ((folder, sizes) for folder, sizes in folders.items() if "config.json" in sizes)


def _digest(folder: Path, names: Sequence[str]) -> str:
    files = (folder / name for name in names)
    return files_digest(
        tuple(CheckpointFile(name=f.name, size_bytes=f.stat().st_size, sha256=sha256_of(f)) for f in files)
    )


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
