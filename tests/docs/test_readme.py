"""The README's two command lines are the ones that are run."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = re.findall(r"^```\n(pip [^\n]*)\n```$", (ROOT / "README.md").read_text(), re.MULTILINE)


def test_there_are_exactly_two():
    """One line installs and runs, one line tests."""
    run, test = COMMANDS
    assert "harness submit --plugin tinytron" in run
    assert "tox" in test


def test_ci_runs_the_same():
    """What CI runs is the README's test command, letter by letter."""
    assert COMMANDS[1] in (ROOT / ".ci" / "run").read_text().splitlines()
