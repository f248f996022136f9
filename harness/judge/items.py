"""The items of a task as the worker left them, held against the score that it gave, in the form of the record.

worker    work/items/…/bbh-navigate.jsonl.gz   one file a subset, lines of ``WorkerItem``
here      items-<model>-bbh.jsonl.gz           one file a task, lines of ``ItemRecord``
"""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

from pydantic import ValidationError

from harness.errors import MeasurementFailed
from harness.judge.recorded import metric_of
from harness.judge.scores import SubsetRecord, TaskRecord, WorkerItem
from harness.submission.items import ROUNDING, share_of
from harness.submission.measurements import ItemRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def gather(record: TaskRecord, work_dir: Path) -> tuple[ItemRecord, ...] | None:
    """The items of all parts of a task, whose paths are relative to ``work_dir``; None where the worker kept none.

    Raises:
        MeasurementFailed: a file is broken, has not one line for each item, or its right answers make another score.
    """
    if any(subset.items_path is None for subset in record.subsets):
        return None
    return tuple(
        item
        for subset in record.subsets
        for item in _checked(subset, metric_of(subset, record.metric), record.scale, work_dir)
    )


def _checked(subset: SubsetRecord, metric: str, scale: float, work_dir: Path) -> tuple[ItemRecord, ...]:
    try:
        records = tuple(_read(subset, work_dir))
    except (OSError, EOFError, zlib.error, ValidationError) as error:
        raise MeasurementFailed(f"tasks: {subset.name}: its items cannot be read: {error}") from error
    if {record.index for record in records} != set(range(subset.item_count)) or len(records) != subset.item_count:
        raise MeasurementFailed(
            f"tasks: {subset.name}: one line for each of its {subset.item_count} items expected, found {len(records)}"
        )
    found, scored = share_of(records), subset.metrics[metric] / scale
    if not abs(found - scored) <= ROUNDING:
        raise MeasurementFailed(
            f"tasks: {subset.name}: its items make a {metric} of {found * scale:.6g}, OpenCompass says "
            f"{scored * scale:.6g}"
        )
    return records


def _read(subset: SubsetRecord, work_dir: Path) -> Iterator[ItemRecord]:
    with gzip.open(work_dir / str(subset.items_path), "rt", encoding="utf-8") as stream:
        for line in stream:
            item = WorkerItem.model_validate_json(line)
            yield ItemRecord(subset=subset.name, **item.model_dump())
