"""The page on deployment names only options and files that there are."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from harness.cli import deploy
from harness.deployment.mlc.options import MAX_SHARD_BYTES, MlcOptions

PAGE = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text(encoding="utf-8")
ELSEWHERE = {"--outtype"}
"""Options of other programs."""


def command():
    app = typer.Typer()
    deploy.register(app)
    return typer.main.get_command(app)


class TestDeploymentPage:
    def test_every_option_exists(self):
        """What the page tells people to type is typed so."""
        known = {option for parameter in command().params for option in parameter.opts}
        assert set(re.findall(r"--[a-z][a-z-]+", PAGE)) - ELSEWHERE <= known

    def test_defaults_are_the_ones_in_the_code(self):
        """Chunk, batch and shard size as they are."""
        options = MlcOptions()
        assert f"| `--prefill-chunk` | {options.prefill_chunk_size} |" in PAGE
        assert f"| `--max-batch-size` | {options.max_batch_size} |" in PAGE
        assert f"{MAX_SHARD_BYTES >> 20} MiB" in PAGE

    def test_every_deliverable_is_written(self):
        """Files of the table are those that the code makes."""
        made = "".join(path.read_text() for path in (Path(deploy.__file__).parents[1] / "deployment").glob("deliv*.py"))
        for name in re.findall(
            r"`((?:[A-Z][A-Za-z_-]+/)?\w+\.(?:txt|sh|py|CSV|sha256))`", PAGE.partition("## The folder")[2]
        ):
            assert name.rpartition("/")[2] in made or name == "mlc_model.py", name
