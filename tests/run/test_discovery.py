"""Discovery: metadata only, and a slip of the finger is recognised."""

from __future__ import annotations

import pytest

from harness.errors import PluginNotFound
from harness.run.discovery import find_plugin


def test_near_name_is_proposed():
    """`tinytorn` is a slip for `tinytron`, installed or not."""
    with pytest.raises(PluginNotFound, match=r"no plugin named 'tinytorn'; did you mean 'tinytron'"):
        find_plugin("tinytorn")
