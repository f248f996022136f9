"""The figures of docs/bench/evaluation.md: OpenCompass with its own model class, and with the fast engine.

    python bench/evaluation.py MODEL DATA                   50 items a task, 2 of each BBH subset
    python bench/evaluation.py MODEL DATA --items 10        fewer, for a quick look
    python bench/evaluation.py MODEL DATA --context 4096    the same weights with room for the whole few-shot prompts

DATA is laid out as OpenCompass looks it up (``data/`` and ``truthful_qa/``); prompts and limits are the competition's.
Both engines see the same items in the same run, each in worker processes of its own, start-up included; then prediction
is compared with prediction. Where two differ, the model's logits in FP64 at that place say whether rounding explains
it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from evaluation_items import Run, compare

import harness
from harness.structured import modeling_structured
from harness.structured.files import is_structured
from harness.toolchains.catalogue import opencompass
from harness.toolchains.provision import ensure

TASKS: Final = ("commonsense_qa", "chid", "humaneval", "bbh", "gsm8k", "truthful_qa")
FEW_SHOT: Final = ("commonsense_qa", "bbh", "gsm8k")
BBH_SUBSETS: Final = 27
WANTED: Final = 3
WANTED_IN_ALL: Final = 2
DOCUMENT: Final = Path(__file__).parent.parent / "docs" / "bench" / "evaluation.md"
COLUMNS: Final = (
    "| task | items | prompt tokens | new tokens | score | wall s, stock / fast | ratio | CPU s, stock / fast | ratio "
    "| early | differing |"
)
START, END = "<!-- {}: measured -->", "<!-- {}: end -->"


def main() -> int:
    """Run both engines, compare, print, write the document; 1 where a difference is not explained."""
    asked = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        model = _with_context(asked.model.resolve(), Path(folder) / asked.model.name, asked.context)
        runs = {engine: run_engine(engine, model, asked, Path(folder) / engine) for engine in ("stock", "fast")}
        differing = {task: compare(task, runs, model, asked.dtype) for task in asked.tasks}
        text = report(asked, runs, differing)
    print(text)
    if asked.write:
        _write_section(_section_name(asked), text)
    return int(any(not entry["explained"] for entries in differing.values() for entry in entries))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--items", type=int, default=50, help="of a task; of BBH about as many, alike from each subset")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--context", type=int, help="max_position_embeddings of a copy whose config.json says so")
    parser.add_argument("--kind", choices=("chat", "base"), default="chat")
    parser.add_argument("--max-out-tokens", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--no-early-stop", action="store_true")
    parser.add_argument("--no-write", dest="write", action="store_false", help="print only")
    return parser.parse_args()


def _with_context(model: Path, copy: Path, context: int | None) -> Path:
    """The model itself, or a copy that claims another context; its weights are the same."""
    if context is None:
        return model
    shutil.copytree(model, copy)
    for name, field in (("config.json", "max_position_embeddings"), ("tokenizer_config.json", "model_max_length")):
        settings = json.loads((copy / name).read_text())
        (copy / name).write_text(json.dumps(settings | {field: context}))
    return copy


def run_engine(engine: str, model: Path, asked: argparse.Namespace, folder: Path) -> Run:
    """One worker for the tasks with many items, one for BBH, whose limit is another; their times added."""
    parts = [
        _run_worker(engine, model, asked, folder / name, tasks, limit)
        for name, tasks, limit in (
            ("single", [task for task in asked.tasks if task != "bbh"], asked.items),
            ("bbh", [task for task in asked.tasks if task == "bbh"], max(1, round(asked.items / BBH_SUBSETS))),
        )
        if tasks
    ]
    return parts[0] if len(parts) == 1 else _added(engine, parts, folder)


def _added(engine: str, parts: list[Run], folder: Path) -> Run:
    records = {
        task: record
        | {
            "subsets": [
                subset | {"items_path": str((part.folder / subset["items_path"]).relative_to(folder))}
                for subset in record["subsets"]
            ]
        }
        for part in parts
        for task, record in part.records.items()
    }
    return Run(
        engine=engine,
        wall_s=sum(part.wall_s for part in parts),
        cpu_s=sum(part.cpu_s for part in parts),
        start_s=sum(part.start_s for part in parts),
        records=records,
        folder=folder,
    )


def _run_worker(  # noqa: PLR0913, PLR0917 - what a worker is asked
    engine: str, model: Path, asked: argparse.Namespace, folder: Path, tasks: list[str], limit: int
) -> Run:
    (folder / "cwd").mkdir(parents=True)
    request = _request(engine, model, asked, folder, tasks, limit)
    (folder / "request.json").write_text(json.dumps(request))
    environment = {"PATH": os.defpath, "HOME": str(folder / "cwd"), "PYTHONPATH": str(opencompass().folder)}
    environment |= {"OMP_NUM_THREADS": str(asked.threads), "LANG": "C.UTF-8"}
    python = ensure(opencompass(), on_event=lambda _event: None).python
    before, started = os.times(), os.times().elapsed
    with (folder / "log.txt").open("w") as log:
        ended = subprocess.run(
            [python, "-P", "-s", "-m", "worker", str(folder / "request.json")],
            cwd=folder / "cwd",
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            check=False,
        )
    after = os.times()
    if ended.returncode:
        sys.exit(f"{engine}: {ended.stdout.decode()[-500:]}\n{(folder / 'log.txt').read_text()[-3000:]}")
    result = json.loads((folder / "result.json").read_text())
    return Run(
        engine=engine,
        wall_s=after.elapsed - started,
        cpu_s=after.children_user + after.children_system - before.children_user - before.children_system,
        start_s=result["durations_s"]["import"],
        records=result["models"]["model"],
        folder=folder,
    )


def _request(  # noqa: PLR0913, PLR0917 - what a worker is asked
    engine: str, model: Path, asked: argparse.Namespace, folder: Path, tasks: list[str], limit: int
) -> dict[str, Any]:
    described = {
        "name": "model",
        "label": "model",
        "path": str(model),
        "kind": asked.kind,
        "max_seq_len": None,
        "max_out_len": asked.max_out_tokens,
        "batch_size": 64,
        "dtype": asked.dtype,
        "modeling": str(modeling_structured.__file__) if is_structured(model) else None,
    }
    return {
        "models": [described],
        "suite": "official",
        "tasks": tasks,
        "data_dir": str(asked.data.resolve()),
        "prompts": {},
        "limit": limit,
        "seed": 0,
        "threads": asked.threads,
        "processes": 1,
        "work_dir": str(folder),
        "result": str(folder / "result.json"),
        "engine": engine,
        "early_stop": not asked.no_early_stop,
        "journal_dir": None,
        "sandbox": str(Path(str(harness.__file__)).parent / "sandbox"),
        "weak_sandbox": True,
        "keep_tokens": True,
    }


def report(asked: argparse.Namespace, runs: dict[str, Run], differing: dict[str, list[dict[str, Any]]]) -> str:
    """The section as Markdown."""
    stock, fast = runs["stock"], runs["fast"]
    settings = (
        f"{asked.kind}, {asked.dtype}, {asked.threads} thread(s), at most {asked.max_out_tokens} new tokens, "
        f"early stop {'off' if asked.no_early_stop else 'on'}."
    )
    lines = [
        settings,
        "",
        COLUMNS,
        "|---" * (COLUMNS.count("|") - 1) + "|",
        *(_line(task, stock, fast, differing[task]) for task in asked.tasks),
        _total("start-up", stock.start_s, fast.start_s),
        _total("in all, start-up included", stock.wall_s, fast.wall_s, stock.cpu_s, fast.cpu_s),
        "",
        *_explanations(differing),
        "",
        _goals(asked, stock, fast),
    ]
    return "\n".join(lines)


def _goals(asked: argparse.Namespace, stock: Run, fast: Run) -> str:
    """What was aimed at, by CPU seconds, and whether it was reached."""
    ratios = {
        f"{task} {stock.spent(task, 'cpu_seconds') / fast.spent(task, 'cpu_seconds'):.2f} of {WANTED}"
        for task in asked.tasks
        if task in FEW_SHOT
    }
    return f"Wanted, CPU: {', '.join(sorted(ratios))}; in all {stock.cpu_s / fast.cpu_s:.2f} of {WANTED_IN_ALL}."


def _line(task: str, stock: Run, fast: Run, differing: list[dict[str, Any]]) -> str:
    items, theirs = [item for _, item in fast.items(task)], [item for _, item in stock.items(task)]
    count = len(items)
    early = sum(item["ended_by"] == "early" for item in items)
    scores = {run.records[task]["score"] for run in (stock, fast)}
    wall, cpu = ([run.spent(task, field) for run in (stock, fast)] for field in ("seconds", "cpu_seconds"))
    return (
        f"| {task} | {count} | {sum(item['prompt_tokens'] for item in items) / count:.0f} "
        f"| {sum(item['generated_tokens'] for item in theirs) / count:.0f} "
        f"| {' / '.join(f'{score:.4g}' for score in sorted(scores))} "
        f"| {wall[0]:.1f} / {wall[1]:.1f} | {wall[0] / wall[1]:.2f} | {cpu[0]:.1f} / {cpu[1]:.1f} "
        f"| {cpu[0] / cpu[1]:.2f} | {early} | {len(differing)} |"
    )


def _total(name: str, wall: float, fast_wall: float, cpu: float | None = None, fast_cpu: float | None = None) -> str:
    processor = "| | |" if cpu is None or fast_cpu is None else f"| {cpu:.1f} / {fast_cpu:.1f} | {cpu / fast_cpu:.2f} |"
    return f"| {name} | | | | | {wall:.1f} / {fast_wall:.1f} | {wall / fast_wall:.2f} {processor} | |"


def _explanations(differing: dict[str, list[dict[str, Any]]]) -> list[str]:
    entries = [entry for found in differing.values() for entry in found]
    if not entries:
        return ["Every prediction is the stock class's, token for token up to an early stop."]
    return [
        f"- {entry['subset']} {entry['index']}: new token {entry['place']}, gap {entry['gap']}, rounding reaches "
        f"{entry['rounding']}: {'explained' if entry['explained'] else 'NOT explained'}"
        for entry in entries
    ]


def _section_name(asked: argparse.Namespace) -> str:
    name: str = asked.model.name
    return f"{name}, context {asked.context}" if asked.context else name


def _write_section(name: str, text: str) -> None:
    """Put ``text`` between the marks of its section, or append the section."""
    start, end = START.format(name), END.format(name)
    page = DOCUMENT.read_text(encoding="utf-8")
    section = f"{start}\n{text}\n{end}"
    if start in page:
        head, rest = page.split(start)
        page = head + section + rest.split(end)[1]
    else:
        page = f"{page.rstrip()}\n\n## {name}\n\n{section}\n"
    DOCUMENT.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
