"""The header of a safetensors file, read without torch and without trusting a byte of it.

bytes 0..7      N, the header's length, little-endian unsigned
bytes 8..8+N    JSON: {"__metadata__": {...}, "<tensor>": {"dtype", "shape", "data_offsets": [start, stop]}, ...}
the rest        the tensors' bytes, without gap or overlap, to the end of the file
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from harness.checkpoint.dtypes import BITS
from harness.errors import CheckpointCorrupt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import JsonValue

LENGTH_BYTES: Final = 8
MAX_HEADER_BYTES: Final = 16 << 20
"""A 405-billion-parameter model has a header of about 0.2 MB; the format itself allows 100 MB."""
MAX_RANK: Final = 16
MAX_ELEMENTS: Final = 1 << 62
METADATA_KEY: Final = "__metadata__"
_FIELDS: Final = frozenset({"dtype", "shape", "data_offsets"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """One tensor of a file."""

    name: str
    dtype: str
    """As safetensors names it: ``F16``, ``BF16``, ``F32`` …"""
    shape: tuple[int, ...]
    start: int
    """Offset of its first byte in the file, bytes."""
    stop: int
    """Offset after its last byte in the file, bytes."""

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor."""
        return self.stop - self.start

    @property
    def element_count(self) -> int:
        """Elements of the tensor."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a safetensors file says of itself, checked against its size."""

    path: Path
    tensors: tuple[TensorEntry, ...]
    """In the order of their bytes."""
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """Read and check the header of ``path``.

    Raises:
        CheckpointCorrupt: anything in it is not as the format has it; the message names file and tensor.
    """
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(LENGTH_BYTES), "little")
            _check_length(path, length, size_bytes)
            text = stream.read(length)
    except OSError as error:
        raise CheckpointCorrupt(f"{path}: cannot be read: {error.strerror}") from error
    return parse_header(text, path=path, data_start=LENGTH_BYTES + length, size_bytes=size_bytes)


def parse_header(text: bytes, *, path: Path, data_start: int, size_bytes: int) -> Header:
    """The header from its JSON ``text``; ``path`` is what errors call the file of ``size_bytes`` bytes.

    Raises:
        CheckpointCorrupt: as ``read_header``.
    """
    content = _parse_json(path, text)
    metadata = _metadata(path, content.pop(METADATA_KEY, {}))
    entries = [_entry(path, name, fields, data_start) for name, fields in content.items()]
    entries.sort(key=lambda entry: (entry.start, entry.stop))
    _check_layout(path, entries, data_start, size_bytes)
    return Header(path=path, tensors=tuple(entries), metadata=metadata)


def _check_length(path: Path, length: int, size_bytes: int) -> None:
    if size_bytes < LENGTH_BYTES or length > size_bytes - LENGTH_BYTES:
        _refuse(
            path, f"the header is said to have {length} bytes, the file has {size_bytes}; it is truncated or foreign"
        )
    if length > MAX_HEADER_BYTES:
        _refuse(path, f"the header is said to have {length} bytes, at most {MAX_HEADER_BYTES} are read")


def _parse_json(path: Path, text: bytes) -> dict[str, JsonValue]:
    try:
        content = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointCorrupt(f"{path}: the header is not the JSON of a safetensors file: {error}") from error
    if not isinstance(content, dict):
        _refuse(path, f"the header must be a JSON object, found {type(content).__name__}")
    return content


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    content = dict(pairs)
    if len(content) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {_short(twice)} stands twice")
    return content


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _metadata(path: Path, metadata: JsonValue) -> dict[str, str]:
    if not isinstance(metadata, dict):
        _refuse(path, f"{METADATA_KEY} must be an object, found {type(metadata).__name__}")
    for value in metadata.values():
        if not isinstance(value, str):
            _refuse(path, f"{METADATA_KEY} must map text to text, found {type(value).__name__}")
    return {key: str(value) for key, value in metadata.items()}


def _entry(path: Path, name: str, fields: JsonValue, data_start: int) -> TensorEntry:
    if not isinstance(fields, dict) or fields.keys() != _FIELDS:
        _refuse(path, f"must have exactly {', '.join(sorted(_FIELDS))}", tensor=name)
    if not name.isprintable():
        _refuse(path, "its name holds characters that cannot be printed", tensor=name)
    dtype = fields["dtype"]
    if not isinstance(dtype, str) or dtype not in BITS:
        _refuse(path, f"dtype must be one of {', '.join(BITS)}, found {_short(dtype)}", tensor=name)
    shape = _integers(path, name, "shape", fields["shape"])
    offsets = _integers(path, name, "data_offsets", fields["data_offsets"])
    if len(offsets) != 2 or offsets[0] > offsets[1]:  # noqa: PLR2004 - start and stop
        _refuse(path, f"data_offsets must be start <= stop, found {_short(list(offsets))}", tensor=name)
    entry = TensorEntry(
        name=name, dtype=dtype, shape=shape, start=data_start + offsets[0], stop=data_start + offsets[1]
    )
    _check_size(path, entry)
    return entry


def _integers(path: Path, name: str, field: str, value: JsonValue) -> tuple[int, ...]:
    """``value`` as a short tuple of integers that are no larger than any tensor can be."""
    if not isinstance(value, list) or len(value) > MAX_RANK:
        _refuse(path, f"{field} must be a list of at most {MAX_RANK} integers, found {_short(value)}", tensor=name)
    numbers = [item for item in value if type(item) is int and 0 <= item <= MAX_ELEMENTS]
    if len(numbers) != len(value):
        _refuse(path, f"{field} must hold integers in 0..{MAX_ELEMENTS}, found {_short(value)}", tensor=name)
    return tuple(numbers)


def _check_size(path: Path, entry: TensorEntry) -> None:
    bits = entry.element_count * BITS[entry.dtype]
    if bits != 8 * entry.size_bytes:
        found = f"{entry.size_bytes} bytes, its shape {list(entry.shape)} and dtype {entry.dtype} make {bits / 8:.15g}"
        _refuse(path, f"has {found}", tensor=entry.name)


def _check_layout(path: Path, entries: list[TensorEntry], data_start: int, size_bytes: int) -> None:
    """Every byte after the header belongs to exactly one tensor."""
    end = data_start
    for entry in entries:
        if entry.start != end:
            fault = "overlaps the tensor before it" if entry.start < end else "leaves a gap before it"
            _refuse(path, f"begins at byte {entry.start}, expected {end}: it {fault}", tensor=entry.name)
        end = entry.stop
    if end != size_bytes:
        fault = "is truncated" if size_bytes < end else "has bytes that belong to no tensor"
        _refuse(path, f"tensors end at byte {end}, the file at {size_bytes}: it {fault}")


def _short(value: object) -> str:
    """``repr`` that a hostile value cannot blow up."""
    text = repr(value) if not isinstance(value, int) or value.bit_length() < 512 else "a huge integer"  # noqa: PLR2004
    return text if len(text) <= 100 else text[:97] + "..."  # noqa: PLR2004 - a line's worth


def _refuse(path: Path, fault: str, *, tensor: str | None = None) -> NoReturn:
    place = f"{path}: tensor {_short(tensor)}" if tensor is not None else f"{path}"
    raise CheckpointCorrupt(f"{place}: {fault}")
