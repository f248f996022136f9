"""The face: one import for a plugin, complete, sorted, and quick."""

from __future__ import annotations

import subprocess
import sys

import pytest

import harness
from harness import contracts


def test_all_is_sorted_and_true():
    """``__all__`` is in the order of ruff's sort, names only what is there, and each once."""
    assert len(set(harness.__all__)) == len(harness.__all__)
    assert all(hasattr(harness, name) for name in harness.__all__)
    constants = [name for name in harness.__all__ if name.isupper()]
    classes = [name for name in harness.__all__ if name[0].isupper() and not name.isupper()]
    others = [name for name in harness.__all__ if not name[0].isupper()]
    assert harness.__all__ == [*sorted(constants), *sorted(classes), *sorted(others)]


def test_all_is_complete():
    """Every public class that the face holds is offered, and nothing public is only there by chance."""
    public = {name for name, value in vars(harness).items() if not name.startswith("_") and isinstance(value, type)}
    assert public <= set(harness.__all__)


def test_every_request_and_result_is_on_the_face():
    """What a hook is given or gives back can be imported from ``harness``, but for the bases of the requests."""
    bases = {"StepRequest", "FinalRequest"}
    crossing = {
        name
        for name, value in vars(contracts).items()
        if isinstance(value, type) and value.__module__ == contracts.__name__ and name not in bases
    }
    assert crossing <= set(harness.__all__)


@pytest.mark.parametrize(
    "module", ["harness", "harness.testing", "harness.cli", "harness.validation", "harness.submission"]
)
def test_import_costs_no_torch(module):
    """What every command, every plugin and every pytest run imports stays light."""
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'transformers', 'datasets'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
