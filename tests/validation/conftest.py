from __future__ import annotations

import shutil

import pytest

from tests.validation.make import Made, make


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    """The true bundle; tests work on copies."""
    root = tmp_path_factory.mktemp("pristine")
    make(root)
    return root


@pytest.fixture
def made(pristine, tmp_path):
    """A true bundle of one's own, to break."""
    root = tmp_path / "entry"
    shutil.copytree(pristine, root)
    return Made(path=next((root / "submissions" / "demo").iterdir()), weights=root / "weights")
