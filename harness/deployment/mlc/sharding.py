"""Which tensor lies in which shard of an MLC package, decided before a byte is written; by MLC's own rule.

    a tensor fits beside what is pending       it joins the shard
    it does not, and is half a shard or more   it gets a shard of its own; what is pending stays pending
    it does not, and is smaller                the pending shard is closed, the tensor begins the next one

Source: TensorCacheShardingManager of TVM's ``contrib/tvmjs.py`` (32 MiB a shard).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.deployment.mlc.names import MlcTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A tensor at its place."""

    tensor: MlcTensor
    offset: int
    """Of its first byte in the shard, bytes."""
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One file of tensors, without gaps."""

    name: str
    records: tuple[Record, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of the file."""
        return sum(record.size_bytes for record in self.records)


def plan_shards(tensors: Iterable[tuple[MlcTensor, int]], max_shard_bytes: int) -> tuple[Shard, ...]:
    """The shards for ``tensors``, each with its size in bytes, in the order in which they come.

    Raises:
        ValueError: ``max_shard_bytes`` is less than 1.
    """
    if max_shard_bytes < 1:
        raise ValueError(f"max_shard_bytes must be at least 1, got {max_shard_bytes}")
    closed: list[list[tuple[MlcTensor, int]]] = []
    pending: list[tuple[MlcTensor, int]] = []
    filled = 0
    for tensor, size in tensors:
        if filled + size >= max_shard_bytes:
            if 2 * size >= max_shard_bytes:
                closed.append([(tensor, size)])
                continue
            closed.append(pending)
            pending, filled = [], 0
        pending.append((tensor, size))
        filled += size
    groups = [*closed, pending]
    return tuple(_shard(number, group) for number, group in enumerate(group for group in groups if group))


def shard_name(number: int) -> str:
    """File name of shard ``number``, from 0."""
    return f"params_shard_{number}.bin"


def _shard(number: int, group: list[tuple[MlcTensor, int]]) -> Shard:
    records: list[Record] = []
    offset = 0
    for tensor, size in group:
        records.append(Record(tensor=tensor, offset=offset, size_bytes=size))
        offset += size
    return Shard(name=shard_name(number), records=tuple(records))
