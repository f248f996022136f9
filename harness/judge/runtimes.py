"""The runtimes that a measurement knows: what each loads, and how it is opened.

    transformers   a checkpoint, torch eager          always here
    executorch     a package of `harness deploy`      an extra; its process imports neither transformers nor an exporter

Every import is in the function that needs it: what is imported is part of the memory that is measured.
"""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import MeasurementFailed

if TYPE_CHECKING:
    from harness.deployment.runner import Runner
    from harness.judge.requests import FloorRequest, PerformanceRequest, Runtime

TOUCHED: Final = 256
"""Rows and columns of the product that wakes a runtime up."""
EDGE: Final = "executorch"
EDGE_ABSENT: Final = "the edge runtime is not installed here: pip install 'edge-llm-harness[edge]'"


def edge_absence() -> str | None:
    """Why the edge runtime cannot be used here, with the way out; none where it is installed. Imports nothing."""
    return None if find_spec(EDGE) is not None else EDGE_ABSENT


def runtime_name(runtime: Runtime) -> str:
    """With its version, as its package states it."""
    return f"{runtime} {version(runtime)}"


def touch(request: PerformanceRequest | FloorRequest) -> None:
    """Load the code that ``request`` will need, and start its device, without a weight.

    Raises:
        MeasurementFailed: the runtime is not installed.
    """
    if request.runtime == EDGE:
        _touch_edge()
    else:
        _touch_transformers(request)


def open_runner(request: PerformanceRequest) -> Runner:
    """The loaded model.

    Raises:
        MeasurementFailed: the runtime is not installed, or cannot load the folder.
        CheckpointCorrupt: the folder is not what it claims to be.
    """
    folder = Path(request.checkpoint)
    if request.runtime == EDGE:
        from harness.deployment.executorch.runner import open_runner as open_edge

        return open_edge(folder, request.threads)
    from harness.judge.transformers_runner import open_transformers

    return open_transformers(folder, precision=request.precision, device=request.device, threads=request.threads)


def _touch_edge() -> None:
    if (absence := edge_absence()) is not None:
        raise MeasurementFailed(absence)
    from harness.deployment.executorch.bindings import load_bindings
    from harness.deployment.executorch.quiet import quiet

    with quiet(EDGE):
        load_bindings()
    import torch

    # What a runner does to logits: the code of these is the runtime's too.
    logits = torch.zeros(TOUCHED, dtype=torch.float16)
    logits[int(logits.argmax())].isfinite()
    logits.float().numpy().copy()


def _touch_transformers(request: PerformanceRequest | FloorRequest) -> None:
    import torch

    from harness.judge.loading import build_empty, load_config

    config = load_config(Path(request.checkpoint))
    build_empty(config)
    stored = str(config.dtype or torch.float32).removeprefix("torch.")
    dtype = getattr(torch, stored if request.precision == "checkpoint" else request.precision)
    # The first product of a precision makes its kernels, which stay: they are the runtime's, not the model's.
    factor = torch.zeros(TOUCHED, TOUCHED, dtype=dtype, device=request.device)
    torch.nn.functional.linear(factor, factor)
