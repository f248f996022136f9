"""Structured checkpoints by the harness's own modeling file, whose path the host gives.

The file of the same name in a checkpoint's folder came with the checkpoint, so it is never run.
"""

# ruff: noqa: ANN401 - transformers has few types

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from .channel import Failure

if TYPE_CHECKING:
    from types import ModuleType

    from .request import Model

MODULE_NAME = "worker_trusted_modeling"
SHOWN_NAMES = 5
FAULTS = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")


def load_structured(model: Model, path: str, dtype: Any) -> Any:
    """The checkpoint at ``model.path`` as an object of the class in ``path``; fails unless its tensors fit exactly."""
    module = _trusted(path)
    try:
        config = module.StructuredConfig.from_pretrained(model.path, local_files_only=True)
        loaded, report = module.StructuredForCausalLM.from_pretrained(
            model.path,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise Failure(f"{model.label}: its structured checkpoint cannot be loaded: {error}") from error
    faults = {kind: sorted(map(str, report[kind]))[:SHOWN_NAMES] for kind in FAULTS if report.get(kind)}
    if faults:
        raise Failure(f"{model.label}: its tensors do not fit its structure: {faults}")
    return loaded


def _trusted(path: str) -> ModuleType:
    """The modeling file as a module under a name that nothing else has."""
    if MODULE_NAME not in sys.modules:
        specification = importlib.util.spec_from_file_location(MODULE_NAME, path)
        if specification is None or specification.loader is None:
            raise Failure(f"no modeling file at {path}")
        module = importlib.util.module_from_spec(specification)
        sys.modules[MODULE_NAME] = module
        specification.loader.exec_module(module)
    return sys.modules[MODULE_NAME]
