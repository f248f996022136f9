"""What Tinytron says of its package."""

from __future__ import annotations

from importlib import import_module

from harness import Packaging


class TestDeploy:
    def test_a_short_cache_and_small_chunks(self):
        """The winner's settings, as data: the harness packages, and nothing is said of how it is measured."""
        said = import_module("harness_tinytron").deploy(None)
        assert said == Packaging(context_tokens=768, prefill_chunk=16)
        assert said.dtype is None
