"""How often the detector of smuggled quantisation is right: error rates by kind, as a table for the documentation.

    python bench/smuggled_quantisation.py [--matrices 56] [--seed 0] [--rate CHECKPOINT]

Random matrices of real shapes (Gaussian, Student's t, Laplace, low rank with noise, rows and columns of unequal scale;
standard deviations from 0.001 to 1) and matrices of the embedded models are quantised in every way, stored as floats,
and judged; beside them the same weights as nobody quantised them. ``--rate`` times a checkpoint against a plain read.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from quantisers import Unit, schemes, symmetric
from safetensors.numpy import save_file

from harness.checkpoint.blocks import blocks, chunks_of, new_buffer
from harness.checkpoint.dtypes import from_float32, to_float32
from harness.checkpoint.reader import open_checkpoint
from harness.checkpoint.shards import read_layout
from harness.pico import catalogue as pico
from harness.validation.smuggling.sampling import suspects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    Matrix = NDArray[Any]

SHAPES: Final = ((256, 1024), (1536, 128), (1024, 4096), (384, 128), (512, 2048), (640, 1000), (128, 384), (4096, 64))
SCALES: Final = (0.02, 0.005, 0.1, 0.001, 1.0)
SHARE_OF_ZEROS: Final = 0.7
SHARE_OF_MOST: Final = 0.9
EVASIONS: Final = ("noise of 1/8 step", "noise of 1/2 step", "scaled by column", "rotated", "one row in 20")


def random_matrix(number: int, random: np.random.Generator) -> Matrix:
    """One of the random matrices; shape, distribution and scale go round."""
    shape, scale = SHAPES[number % len(SHAPES)], SCALES[number % len(SCALES)]
    made: tuple[Callable[[], NDArray[np.float64]], ...] = (
        lambda: random.standard_normal(shape),
        lambda: random.standard_t(3, shape),
        lambda: random.standard_t(5, shape),
        lambda: random.laplace(size=shape),
        lambda: _low_rank(shape, random) + 0.3 * random.standard_normal(shape),
        lambda: _unequal(shape, random),
        lambda: random.uniform(-1, 1, shape),
    )
    return (scale * made[number % len(made)]()).astype(np.float32)


def _low_rank(shape: tuple[int, int], random: np.random.Generator) -> NDArray[np.float64]:
    return random.standard_normal((shape[0], 16)) @ random.standard_normal((16, shape[1])) / 4


def _unequal(shape: tuple[int, int], random: np.random.Generator) -> NDArray[np.float64]:
    rows, columns = np.exp(random.standard_normal((shape[0], 1))), np.exp(0.5 * random.standard_normal((1, shape[1])))
    return random.standard_normal(shape) * rows * columns


def rounded(weight: Matrix, dtype: str) -> Matrix:
    """``weight`` after it was stored in ``dtype``."""
    return to_float32(from_float32(weight.astype(np.float32), dtype), dtype)


def sound(weight: Matrix, random: np.random.Generator) -> Iterator[tuple[str, Matrix]]:
    """The same weights as nobody quantised them."""
    yield "FP16", weight
    yield "once BF16", rounded(weight, "BF16")
    pruned = np.where(np.abs(weight) < np.quantile(np.abs(weight), SHARE_OF_ZEROS), 0, weight)
    yield "70 % zeros, anywhere", pruned
    yield "once BF16, 70 % zeros", rounded(pruned, "BF16")
    sparse = np.where(np.abs(weight) < np.quantile(np.abs(weight), SHARE_OF_MOST), 0, weight)
    yield "once BF16, 90 % zeros", rounded(sparse, "BF16")
    padded = weight.copy()
    padded[:, weight.shape[1] // 2 :] = 0
    yield "half of it zero columns", padded
    repeated = weight.copy()
    repeated[weight.shape[0] // 3 :] = weight[7]
    yield "once BF16, two thirds one row", rounded(repeated, "BF16")
    drifted = rounded(repeated * (1 + 3e-4 * random.standard_normal(weight.shape)).astype(np.float32), "F16")
    yield "two thirds nearly one row (untrained tokens)", drifted
    yield "once BF16, each row four times (tied heads)", rounded(np.repeat(weight, 4, axis=0)[: len(weight)], "BF16")
    constant = weight.copy()
    constant[::2] = 0.125
    yield "half of it constant rows", constant
    left, values, right = np.linalg.svd(weight[:256, :256], full_matrices=False)
    yield "factor of rank 32", left[:, :32] * values[:32]
    yield "product of two factors", (left[:, :32] * values[:32]) @ right[:32]
    scale = random.uniform(0.5, 2, (1, weight.shape[1])).astype(np.float32)
    yield "once BF16, times a norm's weights", rounded(weight, "BF16") * scale


def evasions(weight: Matrix, random: np.random.Generator) -> Iterator[tuple[str, Matrix]]:
    """4 bits by groups of 128 along rows, hidden in ways that cost a little."""
    unit = Unit(name="row")
    quantised = unit.apply(weight, symmetric(4))
    step = np.abs(weight).max(axis=1, keepdims=True) / 7
    yield EVASIONS[0], quantised + step / 8 * random.uniform(-0.5, 0.5, weight.shape)
    yield EVASIONS[1], quantised + step / 2 * random.uniform(-0.5, 0.5, weight.shape)
    yield EVASIONS[2], quantised * random.uniform(0.5, 2, (1, weight.shape[1]))
    turn, _ = np.linalg.qr(random.standard_normal((min(weight.shape[1], 512),) * 2))
    yield EVASIONS[3], quantised[:, : len(turn)] @ turn
    partly = weight.copy()
    partly[5::20] = quantised[5::20]
    yield EVASIONS[4], partly


def is_found(weight: Matrix, folder: Path, seed: int = 0) -> tuple[bool, bool]:
    """Whether the detector is sure, and whether it says anything, of ``weight`` stored as FP16."""
    save_file({"w": weight.astype(np.float16)}, folder / "model.safetensors")
    (shard,) = read_layout(folder).shards
    found = list(suspects(shard, shard.tensors[-1].stop, seed=seed))
    return any(one.verdict.is_sure for one in found), bool(found)


def subjects(count: int, random: np.random.Generator) -> Iterator[tuple[str, Matrix]]:
    """Random matrices, then those of the embedded models' embeddings, first and last layers."""
    for number in range(count):
        yield "random", random_matrix(number, random)
    for name in pico.shipped_digests():
        with open_checkpoint(pico.path(name)) as reader:
            for entry in reader.layout.tensors:
                if len(entry.shape) > 1 and "layers.1" not in entry.name and "layers.2" not in entry.name:
                    yield "pico", to_float32(reader.read(entry.name), entry.dtype)


def measure(count: int, seed: int) -> None:
    """Judge everything and print the tables."""
    random = np.random.default_rng(seed)
    hits: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    alarms: dict[str, Counter[str]] = defaultdict(Counter)
    evaded: dict[str, Counter[str]] = defaultdict(Counter)
    origins: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for origin, weight in subjects(count, random):
            origins[origin] += 1
            for kind, other in sound(weight, random):
                alarms[kind].update(("n", *(["found"] if is_found(other, folder)[1] else [])))
            for bits, form, unit, rounding in schemes():
                if unit.fits(weight):
                    quantised = unit.apply(weight, rounding)
                    counter = hits[bits, form, unit.name]
                    counter.update(("n", *(["F16"] if is_found(quantised, folder)[0] else [])))
                    counter.update(["BF16"] if is_found(rounded(quantised, "BF16"), folder)[0] else [])
            for kind, hidden in evasions(weight, random):
                evaded[kind].update(("n", *(["found"] if is_found(hidden, folder)[1] else [])))
    show(origins, hits, alarms, evaded)


def show(
    origins: Mapping[str, int],
    hits: Mapping[tuple[str, str, str], Counter[str]],
    alarms: Mapping[str, Counter[str]],
    evaded: Mapping[str, Counter[str]],
) -> None:
    """The tables, in Markdown."""
    print(f"{origins['random']} random matrices, {origins['pico']} of the embedded models\n")
    print("| bits | form | shares a scale | found in FP16 | found in FP16, once BF16 | of |\n|---|---|---|---|---|---|")
    for (bits, form, unit), counter in hits.items():
        shares = (f"{counter[dtype] / counter['n']:.1%}" for dtype in ("F16", "BF16"))
        print(f"| {bits} | {form} | {unit} | {' | '.join(shares)} | {counter['n']} |")
    for title, counters in (("sound weights", alarms), ("hidden 4-bit weights", evaded)):
        print(f"\n| {title} | flagged or suspected | of |\n|---|---|---|")
        for kind, counter in counters.items():
            print(f"| {kind} | {counter['found']} | {counter['n']} |")


def rate(path: Path) -> None:
    """Time the detector on a checkpoint against a plain read of it, both from wherever its bytes are."""
    layout, buffer = read_layout(path), new_buffer()
    size = sum(shard.tensors[-1].stop for shard in layout.shards)
    for label in ("plain read", "detector"):
        wall, processor = time.perf_counter(), time.process_time()
        found = 0
        for shard in layout.shards:
            if label == "detector":
                found += len(list(suspects(shard, shard.tensors[-1].stop)))
                continue
            for chunk in chunks_of(shard.path, shard.tensors[-1].stop):
                for _ in blocks(chunk, buffer):
                    pass
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        print(f"| {label} | {size / 1e9:.2f} GB | {wall:.1f} s wall | {processor:.1f} s processor | {found} found |")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matrices", type=int, default=56)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=Path, metavar="CHECKPOINT")
    arguments = parser.parse_args()
    if arguments.rate:
        rate(arguments.rate)
    else:
        measure(arguments.matrices, arguments.seed)


if __name__ == "__main__":
    main()
