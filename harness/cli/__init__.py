"""The command line: one file per command, and the only place that prints or exits."""

from __future__ import annotations

import sys


def main() -> None:
    """Run ``harness``; the exit code says how it went."""
    from harness.cli.app import run

    sys.exit(run(sys.argv[1:]))
