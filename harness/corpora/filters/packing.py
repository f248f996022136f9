"""Training windows of filtered documents.

door ── documents ── cascade, new for every pass ── pack ──> windows/           as without filters
                        └── counts ────────────────────────> windows-filters.json   beside them, written last
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from harness.corpora.filters.cascade import Cascade, Counts, FilterReport
from harness.corpora.filters.settings import filters_of, settings_key
from harness.corpora.windows import Windows, pack
from harness.progress import silent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from harness.corpora.door import DataDoor
    from harness.corpora.filters.settings import FilterSettings
    from harness.progress import Progress


def pack_filtered(  # noqa: PLR0913 - as of ``pack``
    door: DataDoor,
    mixture: Mapping[str, float],
    tokenizer: PreTrainedTokenizerBase,
    filters: FilterSettings,
    *,
    window_tokens: int,
    window_count: int,
    seed: int,
    path: Path,
    progress: Progress = silent,
) -> tuple[Windows, FilterReport]:
    """Windows as ``pack`` makes them, of what ``filters`` leave of the documents; and what they did.

    Answers to instructions are not filtered. A document counts as seen when it was judged, which is at most a batch
    ahead of what was packed.

    Raises:
        UsageError: the list of words cannot be read.
        DataNotAllowed: from the door, also where no document is left.
    """
    report, counts = path.with_name(f"{path.name}-filters.json"), Counts()
    if not report.is_file():
        shutil.rmtree(path, ignore_errors=True)  # packed, and killed before the report was written
    filters_of(filters)  # raises here, before anything is read
    for name in mixture:
        rule = door.settings.rules.get(name)
        if rule is not None and rule.data_schema == "c4":
            door.sift(name, lambda: Cascade(filters_of(filters), counts), key=settings_key(filters))
    windows = pack(
        door,
        mixture,
        tokenizer,
        window_tokens=window_tokens,
        window_count=window_count,
        seed=seed,
        path=path,
        progress=progress,
    )
    if counts.seen or not report.is_file():
        counts.report().write(report)
    return windows, FilterReport.read(report)
