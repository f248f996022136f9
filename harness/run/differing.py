"""Where two checkpoints first differ: file, tensor, element and byte.

chunks of both ──> files that differ ──weights first──> first differing byte ──header──> tensor and element
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from pydantic import NonNegativeInt

from harness.checkpoint.dtypes import storage_dtype
from harness.checkpoint.header import read_header
from harness.checkpoint.tree_digest import compare, tree_digest
from harness.document import Document

if TYPE_CHECKING:
    from pathlib import Path

    from harness.checkpoint.header import Header, TensorEntry
    from harness.checkpoint.tree_digest import Difference

WEIGHTS = ".safetensors"


class Spot(Document):
    """The first difference of two checkpoints."""

    file: str
    change: str
    """In words, e.g. ``changed`` or ``missing``."""
    tensor: str | None = None
    index: NonNegativeInt | None = None
    """Flat index of the element."""
    byte_offset: NonNegativeInt | None = None
    """Of the first byte that differs, in the file."""
    then: str | None = None
    """What stood there, as a number or a shape."""
    now: str | None = None


def first_spot(before: Path, after: Path) -> Spot | None:
    """The first difference of the checkpoints in two folders, weights before other files; none where they are equal.

    Raises:
        CheckpointCorrupt: one of them is no whole checkpoint.
    """
    found = compare(tree_digest(before), tree_digest(after))
    ordered = sorted(found, key=lambda difference: (not difference.name.endswith(WEIGHTS), difference.name))
    return _spot(before, after, ordered[0]) if ordered else None


def _spot(before: Path, after: Path, difference: Difference) -> Spot:
    if difference.change != "changed":
        return Spot(file=difference.name, change=difference.change)
    old, new = before / difference.name, after / difference.name
    offset = _first_byte(old, new, difference.spans[0])
    if not difference.name.endswith(WEIGHTS):
        return Spot(file=difference.name, change="changed", byte_offset=offset)
    headers = read_header(old), read_header(new)
    return _other_shape(difference.name, *headers) or _other_value(old, new, headers[0], offset)


def _first_byte(old: Path, new: Path, span: tuple[int, int]) -> int:
    """Offset of the first byte within ``span`` that is not the same, or at which one of the files ends."""
    start, stop = span
    one, other = (_bytes(path, start, stop - start) for path in (old, new))
    shared = min(len(one), len(other))
    differing = np.flatnonzero(one[:shared] != other[:shared])
    return start + (int(differing[0]) if differing.size else shared)


def _bytes(path: Path, start: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    with path.open("rb") as stream:
        stream.seek(start)
        return np.frombuffer(stream.read(count), np.uint8)


def _other_shape(file: str, old: Header, new: Header) -> Spot | None:
    """The first tensor that only one of them has, or that has another shape, dtype or place."""
    for one, other in itertools.zip_longest(old.tensors, new.tensors):
        if one is None or other is None or _form(one) != _form(other):
            named = one or other
            name = None if named is None else named.name
            then, now = _form(one, besides=name), _form(other, besides=name)
            return Spot(file=file, change="another shape", tensor=name, then=then, now=now)
    return None


def _form(entry: TensorEntry | None, *, besides: str | None = None) -> str:
    """Name, dtype and shape; the name is left out where it is ``besides``."""
    if entry is None:
        return "absent"
    form = f"{entry.dtype} {list(entry.shape)}"
    return form if entry.name == besides else f"{entry.name} {form}"


def _other_value(old: Path, new: Path, header: Header, offset: int) -> Spot:
    entry = next((entry for entry in header.tensors if entry.start <= offset < entry.stop), None)
    if entry is None:
        return Spot(file=old.name, change="changed", byte_offset=offset)
    width = entry.size_bytes // max(1, entry.element_count)
    index = (offset - entry.start) // max(1, width)
    place = entry.start + index * width
    then, now = (_number(_bytes(path, place, width), entry.dtype) for path in (old, new))
    return Spot(file=old.name, change="changed", tensor=entry.name, index=index, byte_offset=offset, then=then, now=now)


def _number(content: np.ndarray[tuple[int], np.dtype[np.uint8]], dtype: str) -> str:
    """The element as a number where numpy knows its dtype, else as bytes."""
    known = storage_dtype(dtype)
    if known is None or dtype == "BF16":
        return content.tobytes().hex()
    return str(content.view(known)[0])
