"""Placeholders for packages that OpenCompass imports for tasks that are not run here, and that are slow to import.

    opencompass.datasets imports all of its 300 data sets' modules, some of them clients of paid services:
    `openai` alone is a tenth of the start. Here `from openai import OpenAI` gives a class that raises when it is made.

Only what no prompt, extractor or metric of the six tasks reaches; what does reach one fails loudly, by name.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

ABSENT = ("openai",)
"""Clients of services, which have no use where there is no network."""


def leave_out(names: Sequence[str] = ABSENT) -> None:
    """Give placeholders for these packages and whatever lies below them, from now on."""
    sys.meta_path.insert(0, _Finder(names))


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname.partition(".")[0] not in self._names:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Placeholder(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


class _Placeholder(ModuleType):
    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a class that is made here
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*_positional: object, **_named: object) -> NoReturn:
            raise RuntimeError(f"{self.__name__}.{name} is not available in an evaluation: {self.__name__} is left out")

        # An exception, so that it may stand in an `except` clause too.
        made = type(name, (Exception,), {"__init__": refuse, "__module__": self.__name__})
        setattr(self, name, made)
        return made
