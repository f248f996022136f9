"""The floors of the import contract have room for every module: a new package cannot stand beside the building."""

from __future__ import annotations

import configparser
from pathlib import Path

import harness

CONTRACTS = Path(__file__).parents[1] / ".importlinter"
PACKAGE = Path(harness.__file__).parent
FACE = {"harness", "harness.__init__"}


def floors():
    parser = configparser.ConfigParser()
    parser.read(CONTRACTS)
    layers = parser["importlinter:contract:floors"]["layers"]
    return {name.strip(" ()") for line in layers.splitlines() for name in line.replace(":", "|").split("|") if name}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_every_module_stands_on_a_floor():
    """Each module is named by the contract, by itself or by a package around it; packages of floors need no name."""
    known = floors()
    homeless = [
        module
        for module in modules()
        if module not in FACE
        and not any(module == floor or module.startswith(f"{floor}.") for floor in known)
        and not any(floor.startswith(f"{module}.") for floor in known)
    ]
    assert homeless == []
