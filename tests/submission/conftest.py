from __future__ import annotations

import pytest

from tests.validation.make import true_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """The values of a bundle without fault."""
    return true_bundle(tmp_path_factory.mktemp("bundle"))
