"""The compress steps: sensitivity by calibration, a layer at a time, then surgery or sparse weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness import StepResult
from harness.corpora.encoding import tokenizer_of
from harness.corpora.windows import pack
from harness.errors import UsageError
from harness.methods.batches import read_batch
from harness.methods.calibration import CalibrationBatch
from harness.methods.fake_quantisation import fake_quantised
from harness.methods.layer_policy import bit_widths, pruning_ratios
from harness.methods.layerwise import stream_moments
from harness.methods.moments import module_of
from harness.methods.rewriting import Rewriting, rewrite
from harness.methods.sensitivity import stream_sensitivity, structured_sensitivity
from harness.methods.sparsity import Pattern, sparse_gpt
from harness.surgery import anatomy as anatomies
from harness.surgery.apply import apply
from harness_edge_llm.options import LayerwiseStep, UnifiedStep, VoteStep
from harness_edge_llm.planning import cut_axes, voting_config, width_plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness import CompressRequest
    from harness.surgery.anatomy import Anatomy
    from harness_edge_llm.options import EdgeOptions

SPARSITIES_PUBLISHED = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
TWO_OF_FOUR = Pattern(zeros=2, of=4)


def compress(request: CompressRequest[EdgeOptions, Any]) -> StepResult:
    """Write the student after the step.

    Raises:
        UsageError: the step does not fit the model.
        BudgetUnreachable: nor does the budget.
    """
    if isinstance(request.step, VoteStep):
        return _vote(request)
    return _unified(request) if isinstance(request.step, UnifiedStep) else _layerwise(request)


def _vote(request: CompressRequest[EdgeOptions, VoteStep]) -> StepResult:
    config = voting_config(request.student.config(), request.step)
    output = rewrite(request.student.path, request.workdir / "made", Rewriting(config=config))
    exits: Any = config["structure"]["exits"]
    return StepResult(checkpoint=output, notes={"exits": exits, "vote": request.step.how})


def _layerwise(request: CompressRequest[EdgeOptions, LayerwiseStep]) -> StepResult:
    step = request.step
    anatomy = anatomies.load(request.student.config())
    found = structured_sensitivity(
        request.student.path,
        anatomy,
        cut_axes(step),
        _batches(request),
        sparsities=SPARSITIES_PUBLISHED,
        relative=step.relative,
        device=request.device,
        progress=request.progress,
    )
    plan = width_plan(anatomy, step, found.scores, found.errors, request.parameter_budget)
    plan.write(request.workdir / "plan.json")
    output = apply(request.student.path, plan, request.workdir / "made", request.progress)
    sizes = [plan.sizes(anatomy, layer) for layer in range(anatomy.layer_count)]
    notes: dict[str, Any] = {axis: [each[axis] for each in sizes] for axis in found.errors}
    errors: Any = {axis: [by_layer[layer] for layer in sorted(by_layer)] for axis, by_layer in found.errors.items()}
    return StepResult(checkpoint=output, notes={"allocation": step.allocation, **notes, "errors": errors})


def _unified(request: CompressRequest[EdgeOptions, UnifiedStep]) -> StepResult:
    step = request.step
    anatomy = anatomies.load(request.student.config())
    linears = _linears(anatomy)
    batches = _batches(request)
    errors = _errors(request, linears, batches)
    ratios = pruning_ratios(errors, step.sparsity, largest=step.largest, strength=step.strength)
    bits = _bits(step, errors)
    made: dict[str, NDArray[np.float32]] = {}
    for found in stream_moments(request.student.path, linears, batches, device=request.device):
        how = TWO_OF_FOUR if step.pattern == "2:4" else ratios[found.index]
        for path, moments in found.moments.items():
            weight: Any = module_of(found.layer, path.removeprefix(f"model.layers.{found.index}.")).weight
            sparse = sparse_gpt(weight.detach(), moments, how, block=step.block, damping=step.damping)
            made[f"{path}.weight"] = fake_quantised(sparse, bits[found.index]).cpu().numpy()
    rewriting = Rewriting(config=request.student.config(), made=made)
    output = rewrite(request.student.path, request.workdir / "made", rewriting)
    notes: dict[str, Any] = {
        "sparsity": list(ratios) if step.pattern == "unstructured" else step.pattern,
        "bits": list(bits),
        "practices": list(step.practices()),
        "stored": "zeros and rounded values as floats: no byte is saved",
        "errors": [errors[layer] for layer in sorted(errors)],
    }
    return StepResult(checkpoint=output, notes=notes)


def _errors(
    request: CompressRequest[EdgeOptions, UnifiedStep], linears: list[str], batches: list[CalibrationBatch]
) -> dict[int, float]:
    """Layer number to the mean over its linears of the mean error over sparsities."""
    streamed = stream_sensitivity(
        request.student.path,
        linears,
        batches,
        sparsities=SPARSITIES_PUBLISHED,
        device=request.device,
        progress=request.progress,
    )
    return {
        layer: float(np.mean([error for linear in found for error in linear.by_sparsity.values()]))
        for layer, found in streamed
    }


def _bits(step: UnifiedStep, errors: dict[int, float]) -> tuple[int, ...]:
    unknown = sorted(set(step.low_bit_layers) - set(errors))
    if unknown:
        raise UsageError(f"unified: low_bit_layers names layer {unknown[0]}; the model has 0..{len(errors) - 1}")
    by_error = bit_widths(errors, step.bits, extra=step.extra_bits)
    return tuple(step.low_bit_layers.get(layer, width) for layer, width in enumerate(by_error))


def _linears(anatomy: Anatomy) -> list[str]:
    return [
        tensor.name.removesuffix(".weight") for layer in range(anatomy.layer_count) for tensor in anatomy.linears(layer)
    ]


def _batches(request: CompressRequest[EdgeOptions, Any]) -> list[CalibrationBatch]:
    """The step's windows, packed once and seeded."""
    step = request.step
    windows = pack(
        request.data,
        step.mixture,
        tokenizer_of(request.student.path),
        window_tokens=step.window_tokens,
        window_count=step.window_count,
        seed=request.seed,
        path=request.workdir / "calibration",
        progress=request.progress,
    )
    parts = np.array_split(np.arange(step.window_count), -(-step.window_count // step.batch_windows))
    return [CalibrationBatch(token_ids=read_batch(windows, part, torch.device("cpu")).token_ids) for part in parts]
