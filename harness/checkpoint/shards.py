"""Which file of a checkpoint holds which tensor: one ``model.safetensors``, or shards under an index.

model.safetensors                    all tensors
model.safetensors.index.json         {"metadata": {...}, "weight_map": {"<tensor>": "<file>"}}
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from harness.checkpoint.header import Header, TensorEntry, read_header
from harness.errors import CheckpointCorrupt

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pydantic import JsonValue

SINGLE_NAME: Final = "model.safetensors"
INDEX_NAME: Final = "model.safetensors.index.json"
MAX_INDEX_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The weights of a checkpoint folder, headers only."""

    path: Path
    shards: tuple[Header, ...]
    """By file name."""

    @property
    def tensors(self) -> tuple[TensorEntry, ...]:
        """All tensors, in the order of the shards and of their bytes."""
        return tuple(entry for shard in self.shards for entry in shard.tensors)

    @property
    def parameter_count(self) -> int:
        """Elements of all tensors; tied tensors are stored, so counted, once."""
        return sum(entry.element_count for entry in self.tensors)


def read_layout(path: Path) -> Layout:
    """Read the headers of all shards in the folder ``path`` and hold them against the index.

    Raises:
        CheckpointCorrupt: a header is wrong, or index and files disagree.
    """
    present = {entry.name for entry in path.glob("*.safetensors") if not entry.name.startswith(".")}
    listed = _read_index(path / INDEX_NAME) if (path / INDEX_NAME).exists() else None
    names = set(listed.values()) if listed is not None else {SINGLE_NAME}
    _check_files(path, present, names)
    shards = tuple(read_header(path / name) for name in sorted(names))
    _check_tensors(path, shards, listed)
    return Layout(path=path, shards=shards)


def _read_index(file: Path) -> dict[str, str]:
    if file.is_symlink() or not file.is_file():
        _refuse(file, "must be a plain file, no link and no device")
    try:
        if file.stat().st_size > MAX_INDEX_BYTES:
            _refuse(file, f"{file.stat().st_size} bytes, at most {MAX_INDEX_BYTES} are read")
        content = json.loads(file.read_bytes().decode(), object_pairs_hook=_unique)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointCorrupt(f"{file}: cannot be read as JSON: {error}") from error
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        _refuse(file, "has no weight_map from tensors to files")
    return {tensor: _plain_name(file, tensor, name) for tensor, name in weight_map.items()}


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key stands twice")
    return content


def _plain_name(file: Path, tensor: str, name: JsonValue) -> str:
    """``name`` if it is a file of the index's own folder: an index must not lead anywhere else."""
    if not isinstance(name, str) or not name.endswith(".safetensors") or name.startswith("."):
        _refuse(file, f"tensor {tensor!r} must lie in a .safetensors file, found {name!r:.100}")
    if not name.isprintable() or any(mark in name for mark in "/\\:"):
        _refuse(file, f"tensor {tensor!r} must lie in a file of the same folder, found {name!r:.100}")
    return name


def _check_files(path: Path, present: set[str], listed: set[str]) -> None:
    for name in sorted(listed - present):
        _refuse(path / name, "is missing; a checkpoint has model.safetensors, or an index and all its shards")
    for name in sorted(present - listed):
        _refuse(path / name, "holds weights that the checkpoint does not name; remove it or list it in the index")
    for name in sorted(listed):
        if (path / name).is_symlink() or not (path / name).is_file():
            _refuse(path / name, "must be a plain file, no folder and no link")


def _check_tensors(path: Path, shards: Iterable[Header], listed: dict[str, str] | None) -> None:
    """Every tensor lies in one file, and in the one that the index says."""
    places: dict[str, str] = {}
    for shard in shards:
        for entry in shard.tensors:
            if entry.name in places:
                _refuse(shard.path, f"tensor {entry.name!r} also lies in {places[entry.name]}")
            places[entry.name] = shard.path.name
    if listed is None or places == listed:
        return
    tensor = min(places.items() ^ listed.items())[0]
    said, found = listed.get(tensor, "nowhere"), places.get(tensor, "nowhere")
    _refuse(path / INDEX_NAME, f"tensor {tensor!r}: the index says {said}, it lies in {found}")


def _refuse(place: Path, fault: str) -> NoReturn:
    raise CheckpointCorrupt(f"{place}: {fault}")
