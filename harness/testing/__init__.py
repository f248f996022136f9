"""What the author of a plugin tests with: a pytest plugin that every environment with the harness has.

    tiny_checkpoint    fixture: a tiny checkpoint, once for each architecture
    tiny_checkpoints   fixture: architecture -> folder of its tiny checkpoint
    fake_door          fixture: a data door over the embedded corpus, nothing downloaded
    PluginConformance  derive a class, name the plugin and its recipes, and the contract is tested
    asking.asking      requests for single steps, for a plugin's tests of its own

Importing this imports no torch: pytest does it in every environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.testing.conformance import PluginConformance
from harness.testing.tiny import ARCHITECTURES, Architecture, write_tiny_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.corpora.door import DataDoor
    from harness.testing.conducting import Conducted

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "PluginConformance",
    "fake_door",
    "finished_recipes",
    "tiny_checkpoint",
    "tiny_checkpoints",
    "write_tiny_checkpoint",
]


@pytest.fixture(scope="session")
def tiny_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Architecture, Path]:
    """Architecture to the folder of its tiny checkpoint; made once a session, never to be written to."""
    root = tmp_path_factory.mktemp("tiny")
    return {architecture: write_tiny_checkpoint(architecture, root / architecture) for architecture in ARCHITECTURES}


@pytest.fixture(params=ARCHITECTURES)
def tiny_checkpoint(request: pytest.FixtureRequest, tiny_checkpoints: Mapping[Architecture, Path]) -> Path:
    """The folder of a tiny checkpoint; a test that asks for it runs once for each architecture."""
    return tiny_checkpoints[request.param]


@pytest.fixture(scope="session")
def finished_recipes() -> dict[tuple[type, Architecture], Conducted]:
    """What ``PluginConformance`` has carried out in this session, so that each of its tests looks at the same."""
    return {}


@pytest.fixture
def fake_door() -> DataDoor:
    """A data door whose ``c4`` and ``alpaca`` are the embedded corpus."""
    from harness.testing.door import embedded_door

    return embedded_door()
