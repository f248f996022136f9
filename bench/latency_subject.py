"""The model of ``latency_table.py``: what its layers lose by their shape, and its variants as packages."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from harness.checkpoint.checkpoint import read_described_config
from harness.corpora.encoding import tokenizer_of
from harness.corpora.windows import pack
from harness.deployment.executorch.export import export_package
from harness.deployment.executorch.options import ExecutorchOptions
from harness.methods.batches import read_batch
from harness.methods.calibration import CalibrationBatch
from harness.methods.layerwise import stream_moments
from harness.methods.low_rank import factorise, whitening
from harness.methods.moments import module_of
from harness.methods.selection import keep_top
from harness.methods.sensitivity import StructuredSensitivity, structured_sensitivity
from harness.pico import catalogue
from harness.surgery import anatomy as anatomies
from harness.surgery.apply import apply
from harness.surgery.count import weigh
from harness.surgery.plan import Plan, plan_of
from harness.testing.door import embedded_door

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from harness.methods.latency import Shape
    from harness.surgery.anatomy import Anatomy

KV: Final = "kv_group"
MLP: Final = "intermediate"
RANK: Final = "rank"
"""Of all three linears of the MLP, whose channels are whole then."""
MIXTURE: Final = {"c4": 0.4, "alpaca": 0.6}
WINDOWS: Final = 64
WINDOW_TOKENS: Final = 160


@dataclass(frozen=True, slots=True)
class Subject:
    """The base, what its units are worth, and where its variants lie."""

    base: Path
    anatomy: Anatomy
    found: StructuredSensitivity
    batches: Sequence[CalibrationBatch]
    whiteners: dict[str, torch.Tensor]
    """By path of an MLP's linear: L with L L^T the Gram matrix of its inputs."""
    folder: Path
    rank_errors: dict[int, tuple[float, ...]] = field(default_factory=dict)
    """Rank to each layer's relative error, as far as it was asked for."""

    @property
    def layers(self) -> int:
        """How many the base has."""
        return self.anatomy.layer_count

    @property
    def whole(self) -> dict[str, int]:
        """The shape of the base's layers."""
        return {axis: self.anatomy.sizes[axis] for axis in (KV, MLP)}

    def plan(self, shapes: Sequence[Shape]) -> Plan:
        """The best units of these many layers; layers above go."""
        padded = [*shapes, *[self.whole] * (self.layers - len(shapes))]
        keep: dict[str, Any] = {
            axis: [
                keep_top(scores, shape.get(axis, self.whole[axis])).tolist()
                for scores, shape in zip(self.found.scores[axis], padded, strict=True)
            ]
            for axis in (KV, MLP)
        }
        if len(shapes) < self.layers:
            keep["layer"] = [list(range(len(shapes)))]
        ranks = tuple(shape.get(RANK) for shape in padded)
        return plan_of(self.anatomy, keep, ranks=dict.fromkeys(linears(self.anatomy), ranks) if any(ranks) else {})

    def weight_count(self, shapes: Sequence[Shape]) -> int:
        """Parameters of the model of these layers."""
        return weigh(self.anatomy.config, self.plan(shapes)).parameter_count

    def error(self, layer: int, shape: Shape) -> float:
        """What the layer loses, attention and MLP each beside the size of its output."""
        curves = self.found.curves
        lost = float(curves[KV][layer][self.whole[KV] - shape[KV]])
        if RANK in shape:
            return lost + self.errors_at(shape[RANK])[layer]
        return lost + float(curves[MLP][layer][self.whole[MLP] - shape[MLP]])

    def errors_at(self, rank: int) -> tuple[float, ...]:
        """Each layer's relative error of the MLP's output with its linears at ``rank``."""
        if rank not in self.rank_errors:
            self.rank_errors[rank] = tuple(mlp_errors(self, rank))
        return self.rank_errors[rank]

    def checkpoint(self, name: str, shapes: Sequence[Shape]) -> Path:
        """The model of these layers, made once."""
        output = self.folder / "checkpoints" / name
        if not output.exists():
            output.parent.mkdir(parents=True, exist_ok=True)
            apply(self.base, self.plan(shapes), output, factorise=self.factors)
        return output

    def packaged(self, name: str, shapes: Sequence[Shape]) -> Path:
        """Checkpoint and package of these layers, made once; the package's folder."""
        package = self.folder / "packages" / name
        if not package.exists():
            started = time.process_time()
            checkpoint = self.checkpoint(name, shapes)
            export_package(checkpoint, package, ExecutorchOptions(dtype="float32", context_tokens=128))
            print(f"# package {name}: {time.process_time() - started:.1f} CPU s", flush=True)
        return package

    def factors(
        self, module: str, weight: NDArray[np.float32], rank: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Whitened factors ``[out, rank]`` and ``[rank, in]`` of a linear of an MLP."""
        found = factorise(torch.from_numpy(weight), inputs=self.whiteners[module], largest_rank=rank)
        return found.left.numpy(), found.right.numpy()


def linears(anatomy: Anatomy) -> list[str]:
    """Names within a layer of the MLP's linears."""
    block = anatomy.table.block
    return [name for name in (block.gate, block.up, block.down) if name]


def make_subject(model: str, folder: Path) -> Subject:
    """A pico model, with its units' scores and its inputs' moments from the embedded corpus."""
    base = catalogue.path(f"pico-{model}")
    anatomy = anatomies.load(read_described_config(base))
    folder.mkdir(parents=True, exist_ok=True)
    windows = pack(
        embedded_door(),
        MIXTURE,
        tokenizer_of(base),
        window_tokens=WINDOW_TOKENS,
        window_count=WINDOWS,
        seed=0,
        path=folder / "calibration",
    )
    parts = np.array_split(np.arange(WINDOWS), 4)
    batches = [CalibrationBatch(token_ids=read_batch(windows, part, torch.device("cpu")).token_ids) for part in parts]
    paths = [f"model.layers.{layer}.{name}" for layer in range(anatomy.layer_count) for name in linears(anatomy)]
    return Subject(
        base=base,
        anatomy=anatomy,
        found=structured_sensitivity(base, anatomy, (KV, MLP), batches, relative=True),
        batches=batches,
        whiteners={
            path: whitening(moments.gram)
            for layer in stream_moments(base, paths, batches)
            for path, moments in layer.moments.items()
        },
        folder=folder,
    )


@torch.no_grad()
def mlp_errors(subject: Subject, rank: int) -> Iterable[float]:
    """By layer: mean square of what the MLP's output changes by, over that of the output, on the base's own inputs."""
    model: Any = AutoModelForCausalLM.from_pretrained(subject.base, dtype=torch.float32)
    model.train(mode=False)
    heard: dict[int, list[torch.Tensor]] = {layer: [] for layer in range(subject.layers)}
    mlps: list[Any] = [model.model.layers[layer].mlp for layer in range(subject.layers)]
    hooks = [
        mlp.register_forward_pre_hook(lambda _, inputs, layer=layer: heard[layer].append(inputs[0].detach()))
        for layer, mlp in enumerate(mlps)
    ]
    for batch in subject.batches:
        model(input_ids=batch.token_ids)
    for hook in hooks:
        hook.remove()
    for layer, mlp in enumerate(mlps):
        inputs = torch.cat(heard[layer])
        exact = mlp(inputs)
        for name in linears(subject.anatomy):
            weight: Any = module_of(model.model.layers[layer], name).weight
            left, right = subject.factors(f"model.layers.{layer}.{name}", weight.detach().numpy(), rank)
            weight.copy_(torch.from_numpy(left @ right))
        yield float((mlp(inputs) - exact).square().mean() / exact.square().mean())
