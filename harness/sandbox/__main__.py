"""``python -m harness.sandbox``: what holds in the sandbox here, as a table or, with ``--json``, for a program."""

from __future__ import annotations

import json
import sys

from .layers import refusal
from .request import property_record
from .run import probe


def main() -> int:
    """Print the table; 1 where something required does not hold."""
    found = probe()
    if "--json" in sys.argv[1:]:
        text = json.dumps([property_record(held) for held in found], indent=1)
    else:
        width = max(len(held.name) for held in found)
        text = "\n".join(f"{held.name:<{width}}  {_state(held.by, held.lacking, held.way_out)}" for held in found)
    sys.stdout.write(text + "\n")
    return 0 if refusal(found) is None else 1


def _state(by: tuple[str, ...], lacking: tuple[str, ...], way_out: str) -> str:
    parts = [f"by {', '.join(by)}" if by else "MISSING"]
    parts += [f"(no {reason})" for reason in lacking]
    return "  ".join([*parts, f"what helps: {way_out}"] if way_out else parts)


if __name__ == "__main__":
    sys.exit(main())
