"""The calls into executorch that make a program; imported only where an export runs.

step ──torch.export, n = 1 .. chunk──> graph ──XNNPACK──> delegates ──> model.pte
                                        weights by digest ──> which parameter has which key in the data file
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from executorch.backends.xnnpack import xnnpack_preprocess
from executorch.backends.xnnpack._passes import XNNPACKPassManager, XNNPACKRemoveCloneOpsTransform
from executorch.backends.xnnpack._passes.convert_to_linear import ConvertToLinearPass
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, to_edge_transform_and_lower
from executorch.exir._serialize._named_data_store import NamedDataStore
from executorch.exir.dialects._ops import ops as exir_ops
from executorch.exir.passes.memory_format_ops_pass import DimOrderOpsRevertPass
from torch.fx.passes.infra.pass_base import PassResult

from harness.deployment.executorch.step import EMBEDDING
from harness.errors import EngineFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import fx
    from torch.nn import Parameter

    from harness.deployment.executorch.placeholder import Placeholders
    from harness.deployment.executorch.step import Step

EXTERNAL: Final = "model"
EMBEDDING_NODE: Final = f"p_{EMBEDDING.replace('.', '_')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightKey:
    """Under which key the runtime asks for a parameter."""

    key: str
    name: str
    """The parameter of the step."""
    is_tensor: bool
    """Whether the runtime uses it as a tensor, shape and all; XNNPACK asks for bytes."""


def lower(
    step: Step, chunk: int, metadata: Mapping[str, Any], placeholders: Placeholders, program: Path
) -> list[WeightKey]:
    """Write the program of ``step`` to the file ``program``; returns what must stand in the data file.

    Args:
        step: With the parameters of ``placeholders``.
        chunk: Most tokens that one call reads.
        metadata: Constant methods, as executorch's own runners of language models read them.
        placeholders: Tells which parameter given bytes stand for.
        program: The file to write.

    Raises:
        EngineFailed: a weight did not end in the data file, so that the program would run on zeros.
    """
    keys: list[WeightKey] = []
    _share(step)
    with _patched(_key_store(placeholders, keys)), torch.no_grad():
        exported = _export(step, chunk)
        edge = to_edge_transform_and_lower(
            exported,
            transform_passes=[_infer_dimensions],
            partitioner=[_Partitioner()],
            compile_config=EdgeCompileConfig(_check_ir_validity=False),
            constant_methods=dict(metadata),
        )
        del exported
        lowered = edge.to_executorch(ExecutorchBackendConfig(external_constants=_tag, run_reinplace_pass=True))
    if EMBEDDING in placeholders.names:
        keys.append(WeightKey(key=EMBEDDING, name=EMBEDDING, is_tensor=True))
    _check(placeholders, keys)
    with program.open("wb") as stream:
        lowered.write_to_file(stream)
    return keys


def _share(step: Step) -> None:
    """Let copies of the parameters be the parameters: lowering copies a graph with its weights, and changes neither."""
    for parameter in step.parameters():
        vars(parameter)["__deepcopy__"] = partial(_same, parameter)


def _same(parameter: Parameter, _: dict[int, Any]) -> Parameter:
    return parameter


def _export(step: Step, chunk: int) -> torch.export.ExportedProgram:
    token_ids, start = torch.zeros(1, chunk, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    count = torch.export.Dim("n", min=1, max=chunk) if chunk > 1 else None
    shapes = {"token_ids": {1: count} if count else None, "start": None}
    return torch.export.export(step, (token_ids, start), dynamic_shapes=shapes, strict=False)


def _infer_dimensions(module: fx.GraphModule) -> PassResult:
    """Views with one dimension to be inferred instead of one of a symbolic size: XNNPACK takes the former only."""
    changed = False
    for node in module.graph.nodes:
        if node.op != "call_function" or node.target != exir_ops.edge.aten.view_copy.default:
            continue
        shape = [size if isinstance(size, int) else -1 for size in node.args[1]]
        if shape != list(node.args[1]) and shape.count(-1) == 1:
            node.args = (node.args[0], shape)
            changed = True
    module.recompile()
    return PassResult(module, changed)


def _tag(node: fx.Node) -> str | None:
    """Where a constant that is no delegate's belongs: the embedding outside, all others inside the program."""
    return EXTERNAL if node.name == EMBEDDING_NODE else None


class _Partitioner(XnnpackPartitioner):  # type: ignore[misc] # executorch is not typed
    """XNNPACK's, which keeps the operators of its list whole wherever they stand: one decomposition instead of two.

    With a condition for each, executorch decomposes twice; every linear of ours meets it.
    """

    def ops_to_not_decompose(self, program: torch.export.ExportedProgram) -> tuple[list[Any], None]:
        operators, _condition = super().ops_to_not_decompose(program)
        return operators, None


class _Passes(XNNPACKPassManager):  # type: ignore[misc] # executorch is not typed
    """XNNPACK's passes that a graph of ours has work for: 3 of 17, each of which walks every delegate.

    The others look for convolutions, pooling, quantised or interpolated images; without them a program has the same
    bytes, which a test holds.
    """

    def __init__(self, program: torch.export.ExportedProgram, passes: list[Any] | None = None) -> None:
        super().__init__(
            program, passes or [XNNPACKRemoveCloneOpsTransform, DimOrderOpsRevertPass, ConvertToLinearPass]
        )


def _key_store(placeholders: Placeholders, keys: list[WeightKey]) -> type[NamedDataStore]:
    """XNNPACK's lowering keeps a copy of every weight for the data file; this keeps its key only, in ``keys``."""

    class KeyStore(NamedDataStore):  # type: ignore[misc] # executorch is not typed
        def add_named_data(self, key: str, data: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as it is
            name = placeholders.name_of(data) if isinstance(data, bytes) else None
            if name is None:
                super().add_named_data(key, data, *args, **kwargs)
            else:
                keys.append(WeightKey(key=key, name=name, is_tensor=False))

    return KeyStore


@contextlib.contextmanager
def _patched(store: type[NamedDataStore]) -> Iterator[None]:
    """Ours in place of two classes of XNNPACK's lowering, in the one module that uses them; put back in any case.

    There is no public door for either.
    """
    before = xnnpack_preprocess.NamedDataStore, xnnpack_preprocess.XNNPACKPassManager
    xnnpack_preprocess.NamedDataStore, xnnpack_preprocess.XNNPACKPassManager = store, _Passes
    try:
        yield
    finally:
        xnnpack_preprocess.NamedDataStore, xnnpack_preprocess.XNNPACKPassManager = before


def _check(placeholders: Placeholders, keys: list[WeightKey]) -> None:
    lost = sorted(placeholders.names - {entry.name for entry in keys})
    if lost:
        raise EngineFailed(
            f"executorch: {len(lost)} weights are not in the data file, first {lost[0]}: "
            "this version of executorch lowers linears otherwise than those that the harness knows"
        )
