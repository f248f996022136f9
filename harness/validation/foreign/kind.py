"""What kind of entry a path is, told from names alone.

submission.json, lock.json, ledger.json or recipe.json at the top    a bundle of ours
mlc-chat-config.json, tensor-cache.json, ndarray-cache.json          an MLC package
config.json, *.safetensors or weights in pickles at the top          a Hugging Face folder
a results file, or any of the above further down                     the competition's own layout
nothing of these                                                     a bundle that lacks its files
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from harness.submission import layout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.validation.listing import Listing


class Kind(StrEnum):
    """Who made an entry, and so what can be asked of it."""

    BUNDLE = "bundle"
    CHECKPOINT = "checkpoint"
    PACKAGE = "package"
    COMPETITION = "competition"
    UNKNOWN = "unknown"


PACKAGE_CONFIG: Final = "mlc-chat-config.json"
PACKAGE_INDEXES: Final = ("tensor-cache.json", "ndarray-cache.json")
"""The second is the older name of the same file."""
CHECKPOINT_CONFIG: Final = "config.json"
_BUNDLE_NAMES: Final = frozenset((layout.SUBMISSION, layout.LOCK, layout.LEDGER, layout.RECIPE))
_RESULTS: Final = re.compile(r"(?:.*[^a-z])?(?:results?|summary(?:_[0-9_]+)?)\.(?:csv|cvs|tsv|txt)", re.IGNORECASE)
_WEIGHTS: Final = re.compile(r"[^/]*\.safetensors|(?:pytorch_model|consolidated|adapter_model)[^/]*\.(?:bin|pt|pth)")


def kind_of(listing: Listing) -> Kind:
    """The kind of the entry in a folder."""
    names = (*listing.files, *listing.links)
    if _BUNDLE_NAMES & set(names):
        return Kind.BUNDLE
    if package_folders(names) == ("",):
        return Kind.PACKAGE
    if CHECKPOINT_CONFIG in names or any(_WEIGHTS.fullmatch(name) for name in names):
        return Kind.CHECKPOINT
    if results_files(names) or checkpoint_folders(names) or package_folders(names):
        return Kind.COMPETITION
    return Kind.BUNDLE


def results_files(names: Iterable[str]) -> tuple[str, ...]:
    """The names that a table of results has had: ``Results.csv``, ``results.cvs``, ``Summary.csv``, sorted."""
    return tuple(sorted(name for name in names if is_results_name(name.rpartition("/")[2])))


def is_results_name(name: str) -> bool:
    """Whether a file of that name is a table of results."""
    return _RESULTS.fullmatch(name) is not None


def checkpoint_folders(names: Iterable[str]) -> tuple[str, ...]:
    """The folders with a ``config.json``, sorted; the empty name is the entry's own folder."""
    return tuple(sorted({_folder(name) for name in names if _leaf(name) == CHECKPOINT_CONFIG}))


def package_folders(names: Iterable[str]) -> tuple[str, ...]:
    """The folders with a file of an MLC package, sorted."""
    marks = (PACKAGE_CONFIG, *PACKAGE_INDEXES)
    return tuple(sorted({_folder(name) for name in names if _leaf(name) in marks}))


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _leaf(name: str) -> str:
    return name.rpartition("/")[2]
