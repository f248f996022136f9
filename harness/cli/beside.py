"""Other filed entries that ``harness submit`` shows beside its own: those that were named, or the baseline's newest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.ranking.beside import Beside
    from harness.run.pipeline import Outcome
    from harness.run.settings import SubmitSettings
    from harness.validation.entry import Entry

DEMO: Final = "demo"
BASELINE: Final = "baseline-l1"
"""What the demo is compared with where nothing is named."""


def entries_named(paths: Sequence[Path], settings: SubmitSettings) -> list[Entry]:
    """The entries at ``paths``, read before anything runs.

    Raises:
        UsageError: one is no entry, or was made on another track, under other rules or on other items.
    """
    from harness.ranking.beside import read_beside, terms_asked
    from harness.run.settings import edition_of

    terms = terms_asked(settings.track, edition_of(settings), settings.limit)
    return [read_beside(path, terms) for path in paths]


def shown_beside(outcome: Outcome, named: Sequence[Entry], settings: SubmitSettings) -> tuple[Beside, ...]:
    """What is shown beside ``outcome``: ``named``, or in the demo the newest entry of the baseline, if there is one."""
    from harness.ranking.beside import beside, newest
    from harness.run.settings import edition_of
    from harness.validation.entry import open_entry

    if not named and settings.track != DEMO:
        return ()
    mine, edition = open_entry(outcome.bundle), edition_of(settings)
    if named:
        return beside(mine, named, edition)
    found = newest(Path(settings.out) / settings.track, BASELINE, mine, edition)
    return () if found is None else beside(mine, [found], edition)
