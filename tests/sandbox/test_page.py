"""The page on the sandbox knows every property and layer, and its example runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.sandbox.layers import PROMISES

PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"


class TestPage:
    @pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.name)
    def test_has_each_property(self, promise):
        """With exactly the layers that provide it, and whether it is required."""
        name = promise.name if promise.required else f"{promise.name} (not required)"
        (row,) = re.findall(rf"^\| {re.escape(name)} \| .* \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
        assert row.split(", ") == [layer.value for layer in promise.layers]

    def test_example_runs(self):
        """As it is printed."""
        (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        exec(compile(example, str(PAGE), "exec"), {})  # noqa: S102 - our own page
