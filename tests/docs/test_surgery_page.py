"""The page on surgery runs, and names every axis."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from harness.checkpoint.checkpoint import read_described_config
from harness.methods.models import load as load_model
from harness.pico import catalogue
from harness.surgery.table import load_table, model_types

PAGE = (Path(__file__).parents[2] / "docs" / "surgery.md").read_text()


def test_the_example_runs(tmp_path, monkeypatch):
    """The code of the page cuts an embedded model, and the result loads."""
    shutil.copytree(catalogue.path("pico-llama"), tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {})  # noqa: S102 - the page's own text
    config = read_described_config(tmp_path / "smaller")
    assert (config["num_hidden_layers"], config["intermediate_size"]) == (3, 192)
    assert load_model(tmp_path / "smaller").num_parameters() > 0


def test_every_axis_is_on_the_page():
    """What can be cut stands in the table."""
    axes = {name for kind in model_types() for name, axis in load_table(kind).axes.items() if axis.fixed is None}
    assert {axis for axis in axes if f"| `{axis}` |" in PAGE} == axes
