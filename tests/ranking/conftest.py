"""A folder of entries: bundles that validate, and entries made elsewhere."""

from __future__ import annotations

import pytest

from tests.ranking.make import file_bundle

TEAMS = {"alpha": 0.7, "beta": 0.68, "gamma": 0.3}
"""Chance of a right answer."""


@pytest.fixture(scope="session")
def filed(tmp_path_factory):
    """Three demo bundles in the folder of their track."""
    root = tmp_path_factory.mktemp("filed")
    for seed, (team, share) in enumerate(TEAMS.items()):
        file_bundle(root / "entries" / "demo", team, seed=seed, share=share, speed=100.0 + seed, weights=root / team)
    return root / "entries"
