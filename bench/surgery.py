"""The figures of docs/bench/surgery.md: pruning an 8-billion-parameter checkpoint, beside loading it to prune it.

    python bench/surgery.py FOLDER                     16 GB of Llama-3.1-8B's shape; about 45 GB of FOLDER are used
    python bench/surgery.py FOLDER --model qwen2-7b    the same for Qwen2-7B
    python bench/surgery.py FOLDER --layers 4          a cut, for a quick look

Every stage runs in a process of its own and says its CPU seconds, its wall time, the bytes that it read and VmHWM.
What was made is removed at the end, unless --keep.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from surgery_checkpoint import MODELS, config_of, write_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

PEER_LAYERS: Final = 8
KEPT_SHARE: Final = 0.75
GROUPS_GONE: Final = 1
AXES: Final = ("intermediate", "kv_group")


def main() -> None:
    """Read the command line, run every stage, print one line of JSON each and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", choices=sorted(MODELS), default="llama-8b")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--stage", choices=sorted(STAGES), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.stage:
        print(json.dumps(measured(STAGES[asked.stage], asked.folder)))
        return
    layers = asked.layers or MODELS[asked.model]["num_hidden_layers"]
    whole, cut = asked.folder / "whole", asked.folder / "cut"
    made = [(whole, layers), (cut, min(PEER_LAYERS, layers))]
    for path, count in made:
        if not path.exists():
            write_checkpoint(path, config_of(asked.model, count))
    found = {stage: run_stage(stage, whole) for stage in ("layout", "prune", "scan", "load")}
    found |= {stage: run_stage(stage, cut) for stage in ("prune_cut", "transformers")}
    for path in (whole, cut):
        found[f"{path.name}_bytes"] = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    print(json.dumps({"model": asked.model, "layers": layers, **compared(found)}, indent=1))
    if not asked.keep:
        shutil.rmtree(asked.folder)


def run_stage(stage: str, folder: Path) -> dict[str, Any]:
    """One stage in a fresh process."""
    command = [sys.executable, __file__, str(folder), "--stage", stage]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    figures: dict[str, Any] = json.loads(lines[-1])
    print(json.dumps({stage: figures}), flush=True)
    return figures


def measured(stage: Callable[[Path], dict[str, Any]], folder: Path) -> dict[str, Any]:
    """What a stage says, with the cost of this process from its start."""
    started = time.monotonic()
    said = stage(folder)
    return {
        **said,
        "cpu_s": time.process_time(),
        "wall_s": time.monotonic() - started,
        "read_bytes": _counter("/proc/self/io", "rchar"),
        "peak_bytes": _counter("/proc/self/status", "VmHWM") * 1024,
    }


def compared(found: dict[str, Any]) -> dict[str, Any]:
    """The figures that docs/bench/surgery.md states."""
    prune, peer, ours = found["prune"], found["transformers"], found["prune_cut"]
    scale = found["whole_bytes"] / found["cut_bytes"]
    return {
        **found,
        "cpu_s_per_gb_of_checkpoint": prune["cpu_s"] / (found["whole_bytes"] / 1e9),
        "cpu_s_per_gb_read": prune["cpu_s"] / (prune["read_bytes"] / 1e9),
        "peak_mib": prune["peak_bytes"] / 2**20,
        "transformers_peak_gib_extrapolated": peer["peak_bytes"] * scale / 2**30,
        "memory_ratio_extrapolated": peer["peak_bytes"] * scale / prune["peak_bytes"],
        "cpu_ratio_on_the_cut": peer["cpu_s"] / ours["cpu_s"],
    }


def layout(folder: Path) -> dict[str, Any]:
    """Check headers and offsets of all shards; the second time, so that the files' pages are warm."""
    from harness.checkpoint.shards import read_layout

    read_layout(folder)
    started = time.perf_counter()
    return {"tensors": len(read_layout(folder).tensors), "layout_ms": 1e3 * (time.perf_counter() - started)}


def prune(folder: Path) -> dict[str, Any]:
    """Score every MLP channel and KV group by L1, and write the checkpoint without the weakest."""
    from harness.checkpoint.checkpoint import read_described_config
    from harness.checkpoint.reader import open_checkpoint
    from harness.methods.importance import magnitudes
    from harness.methods.selection import keep_top
    from harness.surgery.anatomy import load
    from harness.surgery.apply import apply
    from harness.surgery.count import weigh
    from harness.surgery.plan import plan_of

    config = read_described_config(folder)
    anatomy = load(config)
    counts = {
        "intermediate": int(KEPT_SHARE * anatomy.sizes["intermediate"]),
        "kv_group": anatomy.sizes["kv_group"] - GROUPS_GONE,
    }
    keep: dict[str, list[list[int]]] = {axis: [] for axis in AXES}
    with open_checkpoint(folder) as reader:
        for layer in range(anatomy.layer_count):
            for axis, scores in magnitudes(reader, anatomy, AXES, layer).items():
                keep[axis].append(keep_top(scores, counts[axis]).tolist())
    scored_s = time.process_time()
    plan = plan_of(anatomy, keep)
    output = apply(folder, plan, result_of(folder))
    written = sum(file.stat().st_size for file in output.glob("*.safetensors"))
    return {"scored_cpu_s": scored_s, "written_bytes": written, "predicted_bytes": weigh(config, plan).weights_bytes()}


def scan(folder: Path) -> dict[str, Any]:
    """Look at every value of the result."""
    from harness.checkpoint.scan import scan as scan_all

    found = scan_all(result_of(folder))
    return {"is_finite": found.is_finite, "tensors": len(found.tensors)}


def load_lazily(folder: Path) -> dict[str, Any]:
    """Load the result as a model without reading its weights, strictly."""
    import torch

    from harness.methods.models import load

    model = load(result_of(folder), dtype=torch.float16)
    return {"parameters": sum(parameter.numel() for parameter in model.parameters())}


def transformers(folder: Path) -> dict[str, Any]:
    """The same cut as it is usually made: load, score with torch, index, save."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16)
    config = model.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = config.num_attention_heads // config.num_key_value_heads
    with torch.no_grad():
        for layer in model.model.layers:
            _cut_mlp(layer.mlp, int(KEPT_SHARE * config.intermediate_size))
            _cut_groups(layer.self_attn, config.num_key_value_heads - GROUPS_GONE, head_dim, heads)
    output = result_of(folder)
    shutil.rmtree(output, ignore_errors=True)
    model.save_pretrained(output)
    return {"written_bytes": sum(file.stat().st_size for file in output.glob("*.safetensors"))}


def _cut_mlp(mlp: Any, count: int) -> None:  # noqa: ANN401 - modules of any model
    import torch

    entries = (mlp.gate_proj, mlp.up_proj)
    scores = sum(torch.linalg.vector_norm(part.weight, 1, dim=1, dtype=torch.float32) for part in entries)
    scores += torch.linalg.vector_norm(mlp.down_proj.weight, 1, dim=0, dtype=torch.float32)
    kept = scores.topk(count).indices.sort().values
    for part in (mlp.gate_proj, mlp.up_proj):
        part.weight = torch.nn.Parameter(part.weight.index_select(0, kept), requires_grad=False)
    mlp.down_proj.weight = torch.nn.Parameter(mlp.down_proj.weight.index_select(1, kept), requires_grad=False)


def _cut_groups(attention: Any, count: int, head_dim: int, heads: int) -> None:  # noqa: ANN401
    import torch

    widths = {"q_proj": heads * head_dim, "k_proj": head_dim, "v_proj": head_dim}
    scores = sum(
        torch.linalg.vector_norm(getattr(attention, name).weight, 1, dim=1, dtype=torch.float32).view(-1, width).sum(1)
        for name, width in widths.items()
    )
    exits = torch.linalg.vector_norm(attention.o_proj.weight, 1, dim=0, dtype=torch.float32)
    kept = (scores + exits.view(-1, heads * head_dim).sum(1)).topk(count).indices.sort().values
    for name, width in widths.items():
        part = getattr(attention, name)
        rows = (kept[:, None] * width + torch.arange(width)).flatten()
        part.weight = torch.nn.Parameter(part.weight.index_select(0, rows), requires_grad=False)
        if part.bias is not None:
            part.bias = torch.nn.Parameter(part.bias.index_select(0, rows), requires_grad=False)
    columns = (kept[:, None] * heads * head_dim + torch.arange(heads * head_dim)).flatten()
    output = attention.o_proj
    output.weight = torch.nn.Parameter(output.weight.index_select(1, columns), requires_grad=False)


def result_of(folder: Path) -> Path:
    """Where the pruned checkpoint of ``folder`` goes."""
    return folder.with_name(f"{folder.name}-pruned")


def _counter(file: str, name: str) -> int:
    line = next(line for line in Path(file).read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


STAGES: Final = {
    "layout": layout,
    "prune": prune,
    "prune_cut": prune,
    "scan": scan,
    "load": load_lazily,
    "transformers": transformers,
}

if __name__ == "__main__":
    main()
