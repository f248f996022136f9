"""The command line: light, scriptable, and plain about what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from harness.cli.app import run


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


@pytest.mark.parametrize("command", [["--help"], ["plugins", "list"], ["rules", "show"]])
def test_light_commands_import_no_torch(command):
    """What only looks never pays for torch."""
    code = f"import sys; from harness.cli.app import run; run({command!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
