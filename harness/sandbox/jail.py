"""The sandbox as a program: ``python -I -S -B FOLDER/jail.py REQUEST.json ANSWER.json``, or ``--probe`` for the table.

It loads its folder as a package of its own, so that it needs no harness and works under any environment's Python. The
answer is ``{"outcomes": [...]}``, or ``{"refused": "why"}``; standard output has the probe's JSON and nothing else.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGE = "sandbox"


def main(arguments: Sequence[str]) -> int:
    """Probe, or run a request; 0 unless the arguments are wrong."""
    _load_package()
    if list(arguments[:1]) == ["--probe"]:
        return _probe(arguments[1:])
    request, answer = arguments
    with open(request, encoding="utf-8") as stream:  # noqa: PTH123 - pathlib is not loaded yet
        record = json.load(stream)
    partial = f"{answer}.partial"
    with open(partial, "w", encoding="utf-8") as stream:  # noqa: PTH123
        json.dump(_answer(record), stream)
    os.replace(partial, answer)  # noqa: PTH105
    return 0


def _load_package() -> None:
    folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    spec = importlib.util.spec_from_file_location(
        PACKAGE,
        os.path.join(folder, "__init__.py"),  # noqa: PTH118
        submodule_search_locations=[folder],
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} is no package")
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = module
    spec.loader.exec_module(module)


def _module(name: str) -> Any:  # noqa: ANN401 - a module that is found by its path
    return importlib.import_module(f"{PACKAGE}.{name}")


def _answer(record: dict[str, Any]) -> dict[str, Any]:
    request, supervisor = _module("request"), _module("supervisor")
    try:
        return dict(request.answer_record(supervisor.run(request.read_request(record))))
    except supervisor.Refused as refused:
        return {"refused": str(refused)}
    except supervisor.CellBroken as broken:
        return {"refused": f"the sandbox does not stand, and nothing may be believed to have run: {broken}"}


def _probe(without: Sequence[str]) -> int:
    request, supervisor, layers = _module("request"), _module("supervisor"), _module("layers")
    found = supervisor.probe(tuple(layers.Layer(name) for name in without))
    json.dump([request.property_record(held) for held in found], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
