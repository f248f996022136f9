"""Files of items: one line of JSON an item, compressed, the same bytes for the same items.

    {"subset": "gsm8k", "index": 0, "prediction": "… is 42.", "extracted": "42", "reference": "42", "correct": true, …}

``pack`` and ``unpack`` are the only two that know the form. What is unpacked may be a stranger's: how much text comes
out of it is bounded before it is parsed.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections import defaultdict
from typing import TYPE_CHECKING

from pydantic import ValidationError

from harness.submission import layout
from harness.submission.measurements import ItemRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_TEXT_BYTES = 64 << 20
"""Of one file, unpacked: the largest task of the competition, every answer at the longest."""
ROUNDING = 0.6e-4
"""How far a score's share may be from its items': engines print two decimals of a percentage, four of a fraction. One
item of BBH's largest subset weighs more than twice as much in the task."""
MAX_RECORDS = 20_000
"""Of one file; three times the largest task of the competition."""
PREDICTION_CHARACTERS = (None, 2000, 200, 0)
"""How much of a prediction is kept, tried in this order until the file is small enough; None: all of it."""


class NotItems(Exception):
    """Bytes that are no file of items; the message says why."""


def pack(records: Sequence[ItemRecord]) -> bytes:
    """The file of ``records``; deterministic, and at most ``layout.MAX_ITEMS_BYTES`` where predictions alone exceed it.

    Where the whole texts are too large, predictions are left out that are longer than a bound.
    """
    packed = b""
    for characters in PREDICTION_CHARACTERS:
        packed = _compressed("".join(f"{_shortened(one, characters).model_dump_json()}\n" for one in records))
        if len(packed) <= layout.MAX_ITEMS_BYTES:
            break
    return packed


def unpack(content: bytes) -> tuple[ItemRecord, ...]:
    """The items in a file.

    Raises:
        NotItems: it is not compressed, too large, or holds something else than items.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            text = stream.read(MAX_TEXT_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise NotItems(f"is not compressed by gzip: {error}") from error
    if len(text) > MAX_TEXT_BYTES:
        raise NotItems(f"unpacks to more than {MAX_TEXT_BYTES} bytes")
    if text.count(b"\n") > MAX_RECORDS:
        raise NotItems(f"holds more than {MAX_RECORDS} items")
    try:
        return tuple(ItemRecord.model_validate_json(line) for line in text.split(b"\n") if line)
    except ValidationError as error:
        raise NotItems(f"has a line that is no item: {error.errors(include_url=False)[0]['msg'].lower()}") from error


def share_of(records: Sequence[ItemRecord]) -> float:
    """The mean over the subsets of the share of right answers, items that the metric leaves out not counted; 0 to 1.

    NaN where a subset has no item that counts.
    """
    by_subset: dict[str, list[bool]] = defaultdict(list)
    for record in records:
        by_subset[record.subset] += [] if record.correct is None else [record.correct]
    shares = [sum(answers) / len(answers) if answers else math.nan for answers in by_subset.values()]
    return math.fsum(shares) / len(shares) if shares else math.nan


def _compressed(text: str) -> bytes:
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def _shortened(record: ItemRecord, characters: int | None) -> ItemRecord:
    is_short = characters is None or record.prediction is None or len(record.prediction) <= characters
    return record if is_short else record.model_copy(update={"prediction": None})
