"""A data door for tests: the demo edition's data sets, both from the embedded corpus."""

from __future__ import annotations

from harness.corpora.door import DataDoor, DoorSettings
from harness.rules.edition import load_edition


def embedded_settings(seed: int = 0) -> DoorSettings:
    """Settings under which every data set of the demo edition is the embedded corpus."""
    return DoorSettings(rules=load_edition("demo").data, seed=seed)


def embedded_door(seed: int = 0) -> DataDoor:
    """A fresh door with an empty ledger."""
    return DataDoor(embedded_settings(seed))
