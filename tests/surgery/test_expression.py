"""The tables compute, and can do nothing else."""

from __future__ import annotations

import pytest

from harness.surgery.expression import evaluate


class TestEvaluate:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("head_dim or hidden // heads", 16),
            ("kv or heads", 4),
            ("not tied", True),
            ("hidden % heads == 0", True),
            ("tied and hidden", False),
            ("2 * heads - 1 + 0", 7),
        ],
    )
    def test_means_what_python_means(self, text, value):
        """Absent names are None."""
        assert evaluate(text, {"hidden": 64, "heads": 4, "tied": False}) == value

    @pytest.mark.parametrize(
        "text", ["__import__('os')", "a.b", "[1]", "2 ** 9", "1 < 2 < 3", "lambda: 1", "'a'", "1.5", "", "a +", "-1"]
    )
    def test_refuses_everything_else(self, text):
        """No calls, attributes, powers, text or floats."""
        with pytest.raises(ValueError, match=r"cannot be computed|not part of"):
            evaluate(text, {"a": 1})

    @pytest.mark.parametrize("text", ["absent // 2", "1 // zero", "a * absent"])
    def test_what_cannot_be_computed(self, text):
        """A missing field in a sum is an error that shows the expression."""
        with pytest.raises(ValueError, match="cannot be computed"):
            evaluate(text, {"zero": 0, "a": 1})
