"""The contract of every plugin, held by this one."""

from __future__ import annotations

from pathlib import Path

from harness.testing import PluginConformance


class TestConformance(PluginConformance):
    """Every kind of step on a tiny model of every architecture."""

    plugin = "edge-llm"
    recipe = Path(__file__).parent / "short.toml"
