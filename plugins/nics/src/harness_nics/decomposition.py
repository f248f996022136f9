"""DecompLLM: statistics, factors, ranks, and the model whose linears are products.

moments of every linear ──> factors, made when first asked for ──> ranks for each ──> surgery with those factors
(streamed: layer by layer, factors to disk)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from harness import StepResult
from harness.checkpoint.dtypes import to_float32
from harness.checkpoint.reader import open_checkpoint
from harness.methods.layerwise import stream_moments
from harness.methods.low_rank import Factorisation, activation_scale, factorise, output_scale, whitening
from harness.methods.memory import BatchSize, forward_bytes, moments_bytes, require_memory
from harness.methods.moments import Moments, gather_moments
from harness.surgery import anatomy as anatomies
from harness.surgery.apply import apply
from harness.surgery.count import parameter_count
from harness_nics import allocation
from harness_nics.calibration import calibration_batches, load_student, unlabeled
from harness_nics.planning import dense_linears, rank_plan, weight_limit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from harness import CompressRequest
    from harness.methods.batches import Batch
    from harness.methods.ranks import LinearSize
    from harness.surgery.anatomy import Anatomy
    from harness_nics.options import DecomposeStep, NicsOptions


def decompose(request: CompressRequest[NicsOptions, DecomposeStep]) -> StepResult:
    """Write the student with linears of low rank, within the budget or the share that was asked for.

    Raises:
        BudgetUnreachable: no ranks are as small.
        LimitExceeded: the model does not fit in memory and ``streamed`` is off.
    """
    step, config = request.step, request.student.config()
    anatomy = anatomies.load(config)
    linears = dense_linears(anatomy)
    _require_memory(request, anatomy, linears)
    batches = calibration_batches(request)
    factors = _factors(request, linears, batches)
    found = allocation.allocate(
        request, linears, weight_limit(anatomy, step, request.parameter_budget), factors, batches
    )
    plan = rank_plan(anatomy, found.ranks)
    plan.write(request.workdir / "plan.json")

    def factorised(
        module: str, weight: NDArray[np.float32], rank: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        del weight
        left, right = factors.of(module).cut(rank)
        return left.numpy(), right.numpy()

    output = apply(request.student.path, plan, request.workdir / "made", request.progress, factorise=factorised)
    return StepResult(
        checkpoint=output,
        notes={
            "parameter_count": parameter_count(config, plan),
            "parameter_count_before": parameter_count(config),
            "factorised": sum(rank is not None for rank in found.ranks.values()),
            "linears": len(linears),
            **found.notes,
        },
    )


def _require_memory(
    request: CompressRequest[NicsOptions, DecomposeStep], anatomy: Anatomy, linears: Sequence[LinearSize]
) -> None:
    """Refuse what does not fit; the moments of all linears are held unless they are streamed."""
    step = request.step
    if step.streamed and step.allocation not in allocation.MEASURED:
        return
    model = forward_bytes(anatomy, BatchSize(texts=step.batch_windows, tokens=step.window_tokens))
    moments = 0 if step.streamed else moments_bytes(linear.in_count for linear in linears)
    way_out = "set streamed = true with allocation error or uniform, or use a device with more memory"
    require_memory(model + moments, "decompose: the model and its moments", way_out, device=request.device)


@dataclass(slots=True)
class Factors:
    """The factors of each linear, made from its moments when first asked for, or read from where they were streamed."""

    checkpoint: Path
    step: DecomposeStep
    moments: dict[str, Moments]
    """Empty where factors are in ``folder``."""
    sizes: dict[str, LinearSize]
    folder: Path
    made: dict[str, Factorisation]

    def of(self, path: str) -> Factorisation:
        """The factors of the linear ``path``, up to the largest rank that saves anything."""
        if path in self.made:
            return self.made[path]
        if not self.moments:
            return read_factors(self.folder, path)
        with open_checkpoint(self.checkpoint) as reader:
            name = f"{path}.weight"
            weight = torch.from_numpy(to_float32(reader.read(name), reader.entry(name).dtype))
        self.made[path] = make_factors(weight, self.moments[path], self.step, self.sizes[path].largest_rank)
        return self.made[path]


def make_factors(weight: Tensor, moments: Moments, step: DecomposeStep, largest_rank: int) -> Factorisation:
    """Factors of ``weight`` by the step's scaling, on the CPU."""
    inputs: Tensor | None = None
    if step.scaling == "whitened":
        inputs = whitening(moments.gram, damping=step.damping)
    elif step.scaling == "asvd":
        inputs = activation_scale(moments.mean_magnitude, alpha=step.asvd_alpha)
    outputs = output_scale(moments.output_magnitude) if step.weigh_outputs else None
    made = factorise(
        weight.to(moments.gram.device), inputs=inputs, outputs=outputs, largest_rank=largest_rank, split=step.split
    )
    return Factorisation(
        left=made.left.cpu().contiguous(),
        right=made.right.cpu().contiguous(),
        singular_values=made.singular_values.cpu(),
        energy=made.energy,
    )


def _factors(
    request: CompressRequest[NicsOptions, DecomposeStep], linears: Sequence[LinearSize], batches: Sequence[Batch]
) -> Factors:
    step = request.step
    found = Factors(
        checkpoint=request.student.path,
        step=step,
        moments={},
        sizes={linear.path: linear for linear in linears},
        folder=request.workdir / "factors",
        made={},
    )
    if step.streamed:
        _stream(request, found, batches)
    else:
        request.progress("calibrating", 0, 1)
        model = load_student(request)
        found.moments = gather_moments(
            model, list(found.sizes), unlabeled(batches), output_exponent=step.output_exponent
        )
    return found


def _stream(request: CompressRequest[NicsOptions, DecomposeStep], found: Factors, batches: Sequence[Batch]) -> None:
    """Factors of all linears to disk, a layer in memory at a time; those that stand from before are not made again."""
    states = request.workdir / "states"
    for folder in (states, found.folder):
        folder.mkdir(exist_ok=True)
    missing = [path for path in found.sizes if not factors_file(found.folder, path).is_file()]
    if not missing:
        return
    layers = stream_moments(
        request.student.path,
        missing,
        unlabeled(batches),
        folder=states,
        device=request.device,
        output_exponent=request.step.output_exponent,
        progress=request.progress,
    )
    for each in layers:
        for path, moments in each.moments.items():
            weight: Any = each.layer.get_submodule(path.partition(f"layers.{each.index}.")[2]).weight
            made = make_factors(weight, moments, request.step, found.sizes[path].largest_rank)
            write_factors(found.folder, path, made)


def factors_file(folder: Path, path: str) -> Path:
    """Where the factors of a linear are kept."""
    return folder / f"{path}.safetensors"


def write_factors(folder: Path, path: str, made: Factorisation) -> None:
    """Keep factors on disk, whole or not at all."""
    beside = folder / f".{path}.partial"
    energy = torch.tensor([made.energy], dtype=torch.float64)
    tensors = {"left": made.left, "right": made.right, "singular_values": made.singular_values, "energy": energy}
    save_file(tensors, beside)
    beside.replace(factors_file(folder, path))


def read_factors(folder: Path, path: str) -> Factorisation:
    """What ``write_factors`` kept."""
    found = load_file(factors_file(folder, path))
    energy = float(found.pop("energy"))
    return Factorisation(energy=energy, **found)
