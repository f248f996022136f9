"""The command line: light, scriptable, and plain about what is wrong."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.app import run
from harness.cli.watching import Watcher
from harness.run.pipeline import RunRecord
from harness.run.settings import SubmitSettings
from harness.submission.schemas import schema_texts


class TestRun:
    def test_version(self, capsys):
        """`--version` prints name and version."""
        assert run(["--version"]) == 0
        assert capsys.readouterr().out.startswith("harness ")

    def test_rules_show_is_json_for_scripts(self, capsys):
        """`--json` prints one document, the edition itself."""
        assert run(["rules", "show", "demo", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["id"] == "demo"

    @pytest.mark.parametrize("edition", [[], ["demo"], ["neurips-2024"]])
    def test_rules_show_for_people(self, capsys, edition):
        """Every edition can be read in the terminal."""
        assert run(["rules", "show", *edition]) == 0
        assert (edition or ["neurips-2024"])[0] in capsys.readouterr().out

    def test_unknown_edition_is_a_usage_error(self, capsys):
        """What was typed, what there is, exit code 2."""
        assert run(["rules", "show", "neurips-2042"]) == 2
        assert "neurips-2024" in capsys.readouterr().err

    def test_plugins_list_is_json_for_scripts(self, capsys):
        """`plugins list --json` is a list, empty or not."""
        assert run(["plugins", "list", "--json"]) == 0
        assert isinstance(json.loads(capsys.readouterr().out), list)


class TestSchemas:
    def test_writes_every_schema_and_says_where(self, capsys, tmp_path):
        """One file for each document; `--json` lists them for scripts."""
        assert run(["schemas", "--out", str(tmp_path), "--json"]) == 0
        written = json.loads(capsys.readouterr().out)
        assert {Path(path).name for path in written} == set(schema_texts())
        assert all(Path(path).read_text() == schema_texts()[Path(path).name] for path in written)

    def test_lists_them_for_people(self, capsys, tmp_path):
        """A path a line."""
        assert run(["schemas", "--out", str(tmp_path)]) == 0
        assert len(capsys.readouterr().out.splitlines()) == len(schema_texts())


class TestHeading:
    @pytest.mark.parametrize(
        ("track", "edition", "fate"), [("demo", "demo", "is filed as such"), ("compression", None, "will not be filed")]
    )
    def test_a_part_of_the_tasks_is_announced(self, capsys, track, edition, fate):
        """Before hours of work: what is left out, and what becomes of the entry."""
        settings = SubmitSettings(
            plugin="p", track=track, edition=edition, tasks=("gsm8k",), time_limit_s=1, memory_limit_bytes=1
        )
        with Watcher(quiet=False) as watcher:
            watcher.heading(RunRecord(run="p-1", created=dt.date(2026, 11, 22), settings=settings))
        said = " ".join(capsys.readouterr().err.split())
        assert "--tasks leaves out commonsense_qa" in said
        assert "gsm8k" not in said.partition("leaves out")[2]
        assert fate in said

    def test_help_says_what_becomes_of_a_part(self, capsys):
        """The option's help names the consequence and the exit code."""
        assert run(["submit", "--help"]) == 0
        assert "incomplete" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["--help"], ["plugins", "list"], ["rules", "show"]])
def test_light_commands_import_no_torch(command):
    """What only looks never pays for torch."""
    code = f"import sys; from harness.cli.app import run; run({command!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
