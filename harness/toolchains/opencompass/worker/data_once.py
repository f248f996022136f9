"""OpenCompass builds a data set to infer and builds it again to evaluate; within one task the first is kept."""

# ruff: noqa: ANN401 - OpenCompass has no types

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

from opencompass.tasks import openicl_eval, openicl_infer

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def data_read_once() -> Iterator[None]:
    """Inside, data sets are built once each; both users take them as they are, and neither changes them."""
    build, built = openicl_infer.build_dataset_from_cfg, {}

    def build_once(settings: Any) -> Any:
        name = settings["abbr"]
        if name not in built:
            built[name] = build(settings)
        return built[name]

    with (
        mock.patch.object(openicl_infer, "build_dataset_from_cfg", build_once),
        mock.patch.object(openicl_eval, "build_dataset_from_cfg", build_once),
    ):
        yield
