"""The static memory estimate in the log of ``mlc_llm compile``.

    Total memory usage without KV cache: 3329.54 MB (Parameters: 2640.79 MB. Temporary buffer: 688.75 MB)
    KV cache size: 0.38 MB per token in the context window

A megabyte is 2**20 bytes there; some releases write two colons, most of them colours.
"""

from __future__ import annotations

import re
from typing import Final

from pydantic import Field

from harness.document import Document

MIB: Final = 1 << 20
COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_NUMBER: Final = r"\s*([0-9.]+) MB"
_TOTAL: Final = re.compile(
    rf"Total memory usage without KV cache:+{_NUMBER} \(Parameters:{_NUMBER}\. Temporary buffer:{_NUMBER}\)"
)
_CACHE: Final = re.compile(rf"KV cache size:{_NUMBER} per token")


class StaticMemory(Document):
    """What mlc_llm estimates at compile time; a KV cache comes on top."""

    total_bytes: int = Field(ge=0)
    parameters_bytes: int = Field(ge=0)
    temporary_bytes: int = Field(ge=0)
    cache_bytes_per_token: int | None = None
    """Absent where this mlc_llm does not say."""


def memory_in(log: str) -> StaticMemory | None:
    """The static estimate in the log of ``mlc_llm compile``; None where it says none."""
    text = COLOUR.sub("", log)
    found, cache = _TOTAL.search(text), _CACHE.search(text)
    if found is None:
        return None
    total, parameters, temporary = (round(float(number) * MIB) for number in found.groups())
    return StaticMemory(
        total_bytes=total,
        parameters_bytes=parameters,
        temporary_bytes=temporary,
        cache_bytes_per_token=round(float(cache[1]) * MIB) if cache else None,
    )
