"""The table of docs/bench/executorch-cuts.md: pico models, dense and after every kind of cut, as ExecuTorch packages.

    python bench/executorch_cuts.py FOLDER               all rows, about 20 CPU-seconds each; FOLDER keeps the done ones
    python bench/executorch_cuts.py FOLDER --only phi    rows whose model, cut or dtype has that word

Cuts are made by the surgery engine with units that were not chosen for quality: whether a package computes what its
checkpoint computes has nothing to do with how good that is. A row is what the packaging worker answers: it exports,
reads the package back from the disk, and compares with the checkpoint in FP32. Killed and started again, it goes on
where it was; the first rows are one of every cut.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from harness.checkpoint.checkpoint import read_described_config
from harness.deployment.executorch.options import ExecutorchOptions
from harness.deployment.packaging import PackagingRequest
from harness.deployment.packaging_worker import answer
from harness.errors import HarnessError
from harness.pico import catalogue
from harness.progress import silent
from harness.surgery.anatomy import load
from harness.surgery.apply import apply
from harness.surgery.plan import plan_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.deployment.executorch.options import PackageDtype
    from harness.surgery.anatomy import Anatomy

PAGE: Final = Path(__file__).parents[1] / "docs" / "bench" / "executorch-cuts.md"
MODELS: Final = ("pico-llama", "pico-qwen2", "pico-phi")
DTYPES: Final[tuple[PackageDtype, ...]] = ("float16", "float32")
VOCABULARY: Final = 1200
HIDDEN: Final = 96
RANK: Final = 24


class Cut(NamedTuple):
    """What stays; everything else of the model does."""

    keep: dict[str, list[list[int]]]
    fused: tuple[str, ...] = ()
    ranks: dict[str, tuple[int | None, ...]] = {}


def cuts(anatomy: Anatomy) -> dict[str, Cut | None]:
    """Name to cut; None is the dense model."""
    width, groups, layers = anatomy.sizes["intermediate"], anatomy.sizes["kv_group"], anatomy.layer_count
    narrow = [list(range(0, width, 2))] * layers
    uneven = [list(range(width - 32 * (layer + 1))) for layer in range(layers)]
    fewer = [list(range(groups - layer % 2)) for layer in range(layers)]
    last = anatomy.table.block.down
    fused = tuple(fusion.name for fusion in anatomy.table.fusions)
    some = tuple(None if layer == 0 else RANK for layer in range(layers))
    return {
        "dense": None,
        "uniform width": Cut({"intermediate": narrow, "kv_group": [list(range(groups // 2))] * layers}),
        "widths per layer": Cut({"intermediate": uneven, "kv_group": fewer}),
        "factorised": Cut({}, ranks={last: some, anatomy.table.block.output: some}),
        "vocabulary": Cut({"vocab": [list(range(VOCABULARY))]}),
        "layers dropped": Cut({"layer": [[*range(1), *range(2, layers)]]}),
        "linears concatenated": Cut({}, fused=fused),
        "hidden width": Cut({"hidden": [list(range(HIDDEN))]}),
    }


def truncated(_module: str, weight: NDArray[np.float32], rank: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The two factors of largest singular values."""
    import numpy as np

    left, values, right = np.linalg.svd(weight, full_matrices=False)
    return (left[:, :rank] * values[:rank]).astype(np.float32), right[:rank].astype(np.float32)


def row(model: str, name: str, cut: Cut | None, dtype: PackageDtype, folder: Path) -> dict[str, Any]:
    """One package, made and checked; what failed is a row, too."""
    checkpoint, started = catalogue.path(model), time.process_time()
    found: dict[str, Any] = {"model": model, "cut": name, "dtype": dtype}
    package = folder / "package"
    try:
        if cut is not None:
            plan = plan_of(load(read_described_config(checkpoint)), cut.keep, fused=cut.fused, ranks=cut.ranks)
            checkpoint = apply(checkpoint, plan, folder / "cut", factorise=truncated)
        request = PackagingRequest(
            result="",
            target="executorch",
            checkpoint=str(checkpoint),
            package=str(package),
            executorch=ExecutorchOptions(dtype=dtype, context_tokens=256),
        )
        check = answer(request, silent).executorch
    except HarnessError as error:
        return found | {"error": str(error)}
    if check is None:
        return found | {"error": "the worker compared nothing"}
    equal = check.new_token_count if check.first_difference is None else check.first_difference
    return found | {
        "equal": equal,
        "tokens": check.new_token_count,
        "gap": check.largest_gap,
        "difference": check.largest_difference,
        "bound": check.bound,
        "largest_logit": check.largest_logit,
        "package_bytes": sum(file.stat().st_size for file in package.iterdir()),
        "cpu_s": time.process_time() - started,
    }


def wanted() -> list[tuple[str, str, Cut | None, PackageDtype]]:
    """Every model, cut and dtype, in an order that soon has one of every cut."""
    pairs = [(model, dtype) for dtype in DTYPES for model in MODELS]
    made = {model: cuts(load(read_described_config(catalogue.path(model)))) for model in MODELS}
    names = list(made[MODELS[0]])
    places = [(turn, index) for turn in range(len(pairs)) for index in range(len(names))]
    chosen = [(*pairs[(turn + index) % len(pairs)], names[index]) for turn, index in places]
    return [(model, name, made[model][name], dtype) for model, dtype, name in chosen]


def page(rows: list[dict[str, Any]]) -> str:
    """The document, with as many rows as there are."""
    lines = [
        "# The pico models, cut in every way, as ExecuTorch packages",
        "",
        "    python bench/executorch_cuts.py FOLDER",
        "",
        *(f"> {line}" for line in (__doc__ or "").split("\n\n")[-1].strip().splitlines()),
        "",
        f"{len(rows)} of {len(wanted())} rows were run. Tokens: greedy tokens equal to the checkpoint's before the",
        "first other one, and by how much the checkpoint prefers its own there; above twice the bound a row fails. In",
        "FP16 logits from 16 to 32 lie 0.016 apart: closer ones are one number, or neighbours. The bound of a logit's",
        "difference is that of harness/deployment/executorch/check.py.",
        "",
        "| model | cut | dtype | tokens equal | largest logit difference | bound | largest logit | package bytes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    order = {name: place for place, name in enumerate(MODELS)}
    for entry in sorted(rows, key=lambda entry: order[entry["model"]]):
        head = f"| {entry['model']} | {entry['cut']} | {entry['dtype']} |"
        if "error" in entry:
            lines.append(f"{head} failed: {entry['error']} | | | | |")
            continue
        lines.append(
            f"{head} {entry['equal']} of {entry['tokens']}{parted(entry)} | "
            f"{entry['difference']:.2g} | {entry['bound']:.2g} | "
            f"{entry['largest_logit']:.3g} | {entry['package_bytes']} |"
        )
    return "\n".join(lines) + "\n"


def parted(entry: dict[str, Any]) -> str:
    """By how much the checkpoint prefers its own token where the package's is another; nothing where none is."""
    return f", by {entry['gap']:.2g}" if entry["equal"] < entry["tokens"] else ""


def main() -> None:
    """Every row that is not in FOLDER yet, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    kept = arguments.folder / "rows.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.is_file() else []
    done = {(entry["model"], entry["cut"], entry["dtype"]) for entry in rows if "error" not in entry}
    rows = [entry for entry in rows if "error" not in entry]
    for model, name, cut, dtype in wanted():
        if (model, name, dtype) in done or not any(arguments.only in word for word in (model, name, dtype)):
            continue
        found = row(model, name, cut, dtype, arguments.folder)
        shutil.rmtree(arguments.folder / "cut", ignore_errors=True)
        rows.append(found)
        print(json.dumps(found), flush=True)
        kept.write_text("".join(json.dumps(entry) + "\n" for entry in rows))
        arguments.page.write_text(page(rows))


if __name__ == "__main__":
    main()
