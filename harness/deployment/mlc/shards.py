"""The shards of a package against its index: names, sizes, digests, offsets. Nothing is believed, no path is followed.

A shard that is not what the index says is a finding, and its tensors are compared nevertheless where they can be.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from harness.checkpoint.blocks import open_plain, read_fully
from harness.deployment.mlc.faults import fault, shown
from harness.deployment.mlc.index import RAW_SHARD
from harness.deployment.mlc.values import WIDTH_BYTES
from harness.rules.finding import Place, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from harness.deployment.mlc.index import PackageIndex, ShardRecord, TensorRecord
    from harness.rules.finding import Finding

CHUNK_BYTES: Final = 1 << 20


def check_index(folder: Path, index: PackageIndex, index_name: str) -> Iterator[Finding]:
    """Everything that is wrong between ``index`` and the files of ``folder``, and within the index."""
    seen: dict[str, str] = {}
    for number, shard in enumerate(index.records):
        yield from _check_file(folder, shard, Place(file=index_name, field=f"records.{number}"))
        yield from _check_records(shard, index_name, number)
        for tensor in shard.records:
            if tensor.name in seen:
                place = Place(file=index_name, tensor=shown(tensor.name), field=f"records.{number}")
                where = f"{shown(seen[tensor.name])} and {shown(shard.data_path)}"
                yield fault("mlc.records", place, "the tensor stands in the index twice", found=where, allowed="once")
            seen[tensor.name] = shard.data_path
    yield from _check_totals(index, index_name)


def plain_shard(folder: Path, shard: ShardRecord) -> Path | None:
    """The file of ``shard`` where it is a plain file of ``folder`` of the stated size; else None."""
    name = shard.data_path
    if not name or name.startswith(".") or not name.isprintable() or any(mark in name for mark in "/\\"):
        return None
    path = folder / name
    if path.is_symlink() or not path.is_file() or path.stat().st_size != shard.nbytes:
        return None
    return path


def compare(path: Path, shard: ShardRecord, tensor: TensorRecord, expected: Iterator[NDArray[Any]]) -> int | None:
    """Offset within ``tensor`` of its first byte that is not as ``expected``; None where all are.

    Raises:
        CheckpointCorrupt: the checkpoint, or the shard under our hands, cannot be read.
    """
    done = 0
    with open_plain(path, shard.nbytes) as descriptor:
        for chunk in expected:
            wanted = np.ascontiguousarray(chunk).reshape(-1).view(np.uint8)
            found = np.empty(min(len(wanted), tensor.nbytes - done), np.uint8)
            read_fully(descriptor, found, tensor.byte_offset + done, path)
            differing = np.flatnonzero(found != wanted[: len(found)])
            if len(differing):
                return done + int(differing[0])
            if len(found) != len(wanted):
                return done + len(found)
            done += len(found)
    return None if done == tensor.nbytes else done


def _check_file(folder: Path, shard: ShardRecord, place: Place) -> Iterator[Finding]:
    if shard.format != RAW_SHARD:
        yield fault("mlc.form", place, "the shard is of another format", found=shard.format, allowed=RAW_SHARD)
    path = plain_shard(folder, shard)
    if path is None:
        at = place.model_copy(update={"field": f"{place.field}.dataPath"})
        message = "the shard is no plain file of the package with the size that the index states"
        allowed = f"a file of {shard.nbytes} bytes beside the index"
        yield fault("mlc.files", at, message, found=_found(folder, shard.data_path), allowed=allowed)
    elif shard.md5sum is not None and (digest := _md5(path, shard.nbytes)) != shard.md5sum:
        at = Place(file=path.name)
        yield fault("mlc.files", at, "the shard has other bytes", found=f"MD5 {digest}", allowed=f"MD5 {shard.md5sum}")
    elif shard.md5sum is None:
        yield fault("mlc.files", place, "the shard has no digest", found="no md5sum", allowed="the MD5 of the file")


def _found(folder: Path, name: str) -> str:
    plain = name and "/" not in name and "\0" not in name and (folder / name).is_file()
    return f"{shown(name)}, {(folder / name).stat().st_size} bytes" if plain else shown(name)


def _md5(path: Path, size_bytes: int) -> str:
    """MD5 is what the format has; it guards against accidents, never against people."""
    digest, buffer = hashlib.md5(usedforsecurity=False), np.empty(CHUNK_BYTES, np.uint8)
    with open_plain(path, size_bytes) as descriptor:
        for start in range(0, size_bytes, CHUNK_BYTES):
            part = buffer[: min(CHUNK_BYTES, size_bytes - start)]
            read_fully(descriptor, part, start, path)
            digest.update(part.data)
    return digest.hexdigest()


def _check_records(shard: ShardRecord, index_name: str, number: int) -> Iterator[Finding]:
    """The tensors lie one after the other, from the shard's first byte to its last, each as large as its shape."""
    end = 0
    for inner, tensor in sorted(enumerate(shard.records), key=lambda pair: pair[1].byte_offset):
        field = f"records.{number}.records.{inner}"
        at = Place(file=index_name, field=field, tensor=shown(tensor.name), byte_offset=tensor.byte_offset)
        width = WIDTH_BYTES.get(str(tensor.stored))
        if width is None:
            message = f"the tensor is stored as {shown(tensor.dtype)}"
            yield fault("mlc.precision", at, message, found=tensor.dtype, allowed="float16, float32")
        elif math.prod(tensor.shape) * width != tensor.nbytes:
            found, allowed = f"{tensor.nbytes} bytes", f"{math.prod(tensor.shape) * width} bytes"
            yield fault("mlc.records", at, "the tensor is not as large as its shape", found=found, allowed=allowed)
        if tensor.byte_offset != end:
            message = "the tensor overlaps the one before or leaves a gap"
            found = f"byte {tensor.byte_offset}"
            yield fault("mlc.records", at, message, found=found, allowed=f"byte {end}")
        end = tensor.byte_offset + tensor.nbytes
    if end != shard.nbytes:
        at = Place(file=index_name, field=f"records.{number}.nbytes")
        message = "the tensors do not fill the shard"
        yield fault("mlc.records", at, message, found=f"{end} bytes", allowed=f"{shard.nbytes} bytes")


def _check_totals(index: PackageIndex, index_name: str) -> Iterator[Finding]:
    """Counts of the metadata; ``ParamBytes`` counts a float32 as four bytes, also where it is stored in two."""
    tensors = [tensor for shard in index.records for tensor in shard.records]
    widths = {"float16": 2, "float32": 4}
    total = sum(math.prod(tensor.shape) * widths.get(tensor.dtype, 0) for tensor in tensors)
    elements = sum(math.prod(tensor.shape) for tensor in tensors)
    asked = {"ParamSize": len(tensors), "ParamBytes": total, "BitsPerParam": 8 * total / elements if elements else 0}
    for name, value in asked.items():
        stated = index.metadata.get(name)
        if stated != value:
            # mlc_llm also counts what the checkpoint stores and the model does not use.
            severity = Severity.WARNING if name == "BitsPerParam" else Severity.ERROR
            at = Place(file=index_name, field=f"metadata.{name}")
            message = "the total is not that of the tensors"
            yield fault("mlc.records", at, message, found=stated, allowed=value, severity=severity)
