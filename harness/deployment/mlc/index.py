"""``tensor-cache.json``: which bytes of which shard are which tensor. Read from strangers, written by us.

    {"metadata": {"ParamSize": 27, "ParamBytes": 9900544.0, "BitsPerParam": 16.0},        tensors, bytes, bits
     "records": [{"dataPath": "params_shard_0.bin", "format": "raw-shard", "nbytes": …, "records": [
         {"name": …, "shape": […], "dtype": "float16", "format": "f32-to-bf16", "nbytes": …, "byteOffset": …}, …],
       "md5sum": …}, …]}

``f32-to-bf16`` is what mlc_llm writes beside every tensor; it means something for float32 alone: those are then stored
as BF16, half as many bytes. Our FP32 says ``raw`` and keeps all of them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from harness.deployment.mlc.values import MLC_DTYPE, WIDTH_BYTES, stored_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.deployment.mlc.options import WeightLayout
    from harness.deployment.mlc.sharding import Record, Shard
    from harness.deployment.mlc.values import StoredDtype

INDEX_NAME: Final = "tensor-cache.json"
OLD_INDEX_NAME: Final = "ndarray-cache.json"
"""What mlc_llm called it before 2025."""
RAW_SHARD: Final = "raw-shard"
RAW: Final = "raw"
BF16_FOR_F32: Final = "f32-to-bf16"
BITS_PER_BYTE: Final = 8

Count = Annotated[int, Field(ge=0, lt=1 << 62)]


class _Open(BaseModel):
    """A stranger's object: what is asked for must be there, what else stands in it is not looked at."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class TensorRecord(_Open):
    """One tensor of a shard."""

    name: str
    shape: tuple[Count, ...] = Field(max_length=16)
    dtype: str
    format: str = BF16_FOR_F32
    nbytes: Count
    byte_offset: Count = Field(alias="byteOffset")

    @property
    def stored(self) -> StoredDtype | None:
        """The dtype of its bytes; None for one that is no plain float."""
        if self.dtype == "float32":
            return "BF16" if self.format == BF16_FOR_F32 else "F32"
        return "F16" if self.dtype == "float16" else None


class ShardRecord(_Open):
    """One file of tensors."""

    data_path: str = Field(alias="dataPath")
    format: str = RAW_SHARD
    nbytes: Count
    md5sum: str | None = None
    records: tuple[TensorRecord, ...]


class PackageIndex(_Open):
    """The whole index."""

    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    records: tuple[ShardRecord, ...] = Field(min_length=1)


def index_bytes(shards: Sequence[Shard], digests: Sequence[str], dtype: StoredDtype, layout: WeightLayout) -> bytes:
    """The index of ``shards`` whose files have the MD5 ``digests``, as mlc_llm writes it."""
    records = [record for shard in shards for record in shard.records]
    total = sum(record.size_bytes for record in records)
    content = {
        "metadata": {
            "ParamSize": len(records),
            "ParamBytes": float(total),
            "BitsPerParam": float(WIDTH_BYTES[dtype] * BITS_PER_BYTE),
        },
        "records": [_shard(shard, digest, dtype, layout) for shard, digest in zip(shards, digests, strict=True)],
    }
    return (json.dumps(content, indent=4) + "\n").encode()


def _shard(shard: Shard, digest: str, dtype: StoredDtype, layout: WeightLayout) -> dict[str, Any]:
    return {
        "dataPath": shard.name,
        "format": RAW_SHARD,
        "nbytes": shard.size_bytes,
        "records": [_record(record, dtype, layout) for record in shard.records],
        "md5sum": digest,
    }


def _record(record: Record, dtype: StoredDtype, layout: WeightLayout) -> dict[str, Any]:
    return {
        "name": record.tensor.name,
        "shape": list(stored_shape(record.tensor, layout)),
        "dtype": MLC_DTYPE[dtype],
        "format": RAW if dtype == "F32" else BF16_FOR_F32,
        "nbytes": record.size_bytes,
        "byteOffset": record.offset,
    }
