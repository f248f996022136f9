"""What it costs to look at every weight: scan, digest and magnitudes beside a plain read and torch's own functions.

    python bench/integrity.py [CHECKPOINT] [--rounds 3]

Without a checkpoint, a Llama-3.1-8B cut of two layers and a quarter of the vocabulary (1.4 GB) is made and removed.
Rounds alternate, the best of each is kept; rates are bytes of weights by processor second, which other load hardly
moves, and by wall second, which it does. One thread, but for what says otherwise. Bytes come from the page cache where
they fit it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from safetensors import safe_open
from surgery_checkpoint import config_of, write_checkpoint

from harness.checkpoint.blocks import available_processors, blocks, chunks_of, new_buffer
from harness.checkpoint.checkpoint import Checkpoint, read_config
from harness.checkpoint.reader import open_checkpoint
from harness.checkpoint.scan import scan, scan_and_digest
from harness.checkpoint.shards import INDEX_NAME, read_layout
from harness.checkpoint.tree_digest import tree_digest
from harness.checkpoint.writer import (
    MAX_SHARD_BYTES,
    TensorSpec,
    header_bytes,
    index_bytes,
    shard_name,
    split_shards,
)
from harness.methods.importance import magnitudes
from harness.surgery.anatomy import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

AXES: Final = ("intermediate", "kv_group")
GIGA: Final = 1e9
IN_MEMORY: Final = "torch.isfinite(t).all(), t in memory"
LAYOUT: Final = "layout of Llama-3.1-8B: 4 shards, 291 tensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The best of several rounds."""

    size_bytes: int
    wall_s: float
    processor_s: float

    @property
    def rate(self) -> float:
        """GB by processor second."""
        return self.size_bytes / self.processor_s / GIGA


def plain_read(path: Path) -> None:
    """Every shard through one buffer, as large as the scan's."""
    buffer = new_buffer()
    for shard in read_layout(path).shards:
        size_bytes = shard.tensors[-1].stop
        for chunk in chunks_of(shard.path, size_bytes):
            for _ in blocks(chunk, buffer):
                pass


def tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor as safetensors maps it."""
    for shard in read_layout(path).shards:
        with safe_open(shard.path, "pt") as file:
            for entry in shard.tensors:
                yield entry.name, file.get_tensor(entry.name)


def torch_isfinite(path: Path) -> None:
    """What one writes by hand."""
    for name, tensor in tensors(path):
        require_finite(name, tensor)


def require_finite(name: str, tensor: torch.Tensor) -> None:
    """Complain about a tensor that is not finite."""
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} is not finite")


def torch_isfinite_in_memory(path: Path) -> Cost:
    """The same, with the clock stopped while a tensor is fetched."""
    total = Cost(size_bytes=0, wall_s=0, processor_s=0)
    for name, tensor in tensors(path):
        fetched = tensor.clone()
        cost = timed(tensor.nbytes, partial(require_finite, name, fetched))
        total = Cost(
            size_bytes=total.size_bytes + cost.size_bytes,
            wall_s=total.wall_s + cost.wall_s,
            processor_s=total.processor_s + cost.processor_s,
        )
    return total


def write_headers(folder: Path, config: dict[str, Any]) -> Path:
    """The shards of ``config``'s checkpoint with holes for weights: all that its layout is read from, and no more."""
    anatomy = load(config)
    shapes = {tensor.name: tensor.shape(anatomy.sizes) for tensor in anatomy.tensors.values()}
    specs = [TensorSpec(name=name, dtype="F16", shape=shape) for name, shape in shapes.items()]
    shards = split_shards(specs, MAX_SHARD_BYTES)
    folder.mkdir()
    for number, shard in enumerate(shards):
        header = header_bytes(shard)
        with (folder / shard_name(number, len(shards))).open("wb") as stream:
            stream.write(header)
            stream.truncate(len(header) + sum(spec.size_bytes for spec in shard))
    (folder / INDEX_NAME).write_bytes(index_bytes(shards))
    return folder


def our_magnitudes(path: Path) -> None:
    """Both axes of every layer."""
    anatomy = load(read_config(path))
    with open_checkpoint(path) as reader:
        for layer in range(anatomy.layer_count):
            magnitudes(reader, anatomy, AXES, layer)


def torch_vector_norm(path: Path) -> None:
    """The same sums by ``vector_norm`` along a dimension, FP32 inside."""
    coupled = coupled_places(path)
    for name, tensor in tensors(path):
        if name in coupled:
            others = tuple(place for place in range(tensor.ndim) if place != coupled[name])
            torch.linalg.vector_norm(tensor, 1, dim=others or None, dtype=torch.float32)


def coupled_places(path: Path) -> dict[str, int]:
    """Tensors that the axes reach into, and the dimension in which they do."""
    anatomy = load(read_config(path))
    return {
        tensor.name: place
        for tensor in anatomy.tensors.values()
        for place, dimension in enumerate(tensor.dimensions)
        if any(axis in block for axis in AXES for block in dimension)
    }


def coupled_bytes(path: Path) -> int:
    """Bytes of the tensors that the magnitudes read."""
    coupled = coupled_places(path)
    return sum(entry.size_bytes for entry in read_layout(path).tensors if entry.name in coupled)


def measure(path: Path, layout: Path, rounds: int) -> dict[str, Cost]:
    """Every piece of work on ``path``, and reading the layout of ``layout``, ``rounds`` times in turn."""
    everything = sum(entry.size_bytes for entry in read_layout(path).tensors)
    part = coupled_bytes(path)
    work: dict[str, tuple[int, Callable[[], object]]] = {
        "plain read": (everything, lambda: plain_read(path)),
        "scan": (everything, lambda: scan(path)),
        "torch.isfinite(t).all()": (everything, lambda: torch_isfinite(path)),
        "one SHA-256 of each file": (everything, lambda: Checkpoint.of(path)),
        "tree digest, all processors": (everything, lambda: tree_digest(path)),
        "scan and digest, one read": (everything, lambda: scan_and_digest(path)),
        "magnitudes, two axes": (part, lambda: our_magnitudes(path)),
        "torch.linalg.vector_norm": (part, lambda: torch_vector_norm(path)),
        LAYOUT: (0, lambda: read_layout(layout)),
    }
    sizes = {name: size for name, (size, _) in work.items()} | {IN_MEMORY: everything}
    costs = {name: Cost(size_bytes=size, wall_s=np.inf, processor_s=np.inf) for name, size in sizes.items()}
    for _ in range(rounds):
        for name, (size_bytes, run) in work.items():
            costs[name] = better(costs[name], timed(size_bytes, run))
        costs[IN_MEMORY] = better(costs[IN_MEMORY], torch_isfinite_in_memory(path))
    return costs


def timed(size_bytes: int, run: Callable[[], object]) -> Cost:
    """The cost of one run."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    processor_s, wall_s = time.process_time() - processor, time.perf_counter() - wall
    return Cost(size_bytes=size_bytes, wall_s=wall_s, processor_s=processor_s)


def better(left: Cost, right: Cost) -> Cost:
    """The lesser of each time."""
    return Cost(
        size_bytes=left.size_bytes,
        wall_s=min(left.wall_s, right.wall_s),
        processor_s=min(left.processor_s, right.processor_s),
    )


def machine() -> dict[str, str | float]:
    """What it ran on."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": names[0].partition(":")[2].strip() if names else platform.machine(),
        "processors": available_processors(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }


def table(costs: Mapping[str, Cost]) -> Iterator[str]:
    """The costs as markdown."""
    yield "| work | GB | wall s | processor s | GB / processor s | GB / wall s |"
    yield "|---|---|---|---|---|---|"
    for name, cost in costs.items():
        if cost.size_bytes:
            rates = f"{cost.rate:.2f} | {cost.size_bytes / cost.wall_s / GIGA:.2f}"
            size = f"{cost.size_bytes / GIGA:.2f}"
            yield f"| {name} | {size} | {cost.wall_s:.2f} | {cost.processor_s:.2f} | {rates} |"
        else:
            yield f"| {name} | | {cost.wall_s:.4f} | {cost.processor_s:.4f} | | |"


def report(path: Path, layout: Path, rounds: int) -> None:
    """Print the figures as JSON and as tables."""
    costs = measure(path, layout, rounds)
    ratios = {
        "scan / torch.isfinite": costs["scan"].rate / costs["torch.isfinite(t).all()"].rate,
        "scan / torch.isfinite on tensors in memory": costs["scan"].rate / costs[IN_MEMORY].rate,
        "scan / plain read": costs["scan"].rate / costs["plain read"].rate,
        "magnitudes / torch.linalg.vector_norm": (
            costs["magnitudes, two axes"].rate / costs["torch.linalg.vector_norm"].rate
        ),
    }
    figures: dict[str, Any] = {
        "machine": machine(),
        "costs": {name: asdict(cost) for name, cost in costs.items()},
        "ratios by processor second": ratios,
    }
    print(json.dumps(figures, indent=2))
    print("\n".join(table(costs)))
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.1f}")


def main() -> None:
    """Read the command line, make a checkpoint where none is given, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        layout = write_headers(Path(folder) / "headers", config_of("llama-8b"))
        checkpoint = asked.checkpoint
        if checkpoint is None:
            checkpoint = Path(folder) / "cut"
            write_checkpoint(checkpoint, config_of("llama-8b", layers=2, vocab=32_064), max_shard_bytes=500_000_000)
        report(checkpoint, layout, asked.rounds)


if __name__ == "__main__":
    main()
