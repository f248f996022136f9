"""The runtime's own extension module, without the Python that executorch puts around it.

``executorch.runtime`` and ``portable_lib`` bring the exporter's packages along for one class of warning: measured with
executorch 1.5.1, 364 MB of resident memory beside 227 MB for the module itself, of which torch is 225. Both calls that
``executorch.runtime`` adds are plain ones, so a measurement pays for the runtime and for nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def load_bindings() -> Any:  # noqa: ANN401 - an extension module without types
    """The module; raises ``ImportError`` where it cannot be loaded."""
    import_module("torch")  # its libraries have to be in the process before the module asks for them
    return import_module("executorch.extension.pybindings._C")
