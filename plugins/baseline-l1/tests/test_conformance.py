"""The contract of every plugin, held by this one."""

from __future__ import annotations

from pathlib import Path

from harness.testing import PluginConformance


class TestConformance(PluginConformance):
    """The baseline prunes and recovers a tiny model of every architecture."""

    plugin = "baseline-l1"
    recipe = Path(__file__).parent / "short.toml"
