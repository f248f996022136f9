"""The page for plugin authors knows every hook."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from harness import hookspecs

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
HOOKS = [name for name, value in vars(hookspecs).items() if hasattr(value, "harness_spec")]


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_documented_with_its_arguments(hook):
    """Each hook stands on the page with its signature."""
    arguments = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)
    assert f"`{hook}({arguments})`" in PAGE.read_text()


def test_there_are_hooks():
    """The list that the other test walks is not empty."""
    assert len(HOOKS) == 7
