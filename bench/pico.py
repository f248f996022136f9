"""The figures of docs/pico.md: held-out bits per byte, pruned halves, longer training, task scores.

    python bench/pico.py scores FOLDER ...               bits per byte and task scores of every model in the folders
    python bench/pico.py train --out FOLDER [NAME ...]   train as `harness pico build`, and 20 % longer beside it
    python bench/pico.py control FOLDER ...              80 more steps of dense training at a small rate

Everything is on held-out items: validation documents for bits per byte, test items for the tasks.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pico_tasks import task_scores

from harness.judge.bits_per_byte import measure_bits_per_byte
from harness.judge.requests import BitsPerByteRequest
from harness.pico import catalogue, training, vocabulary, windows
from harness.pico.build import BuildSettings, prepared, save
from harness.pico.corpus import items
from harness.progress import silent

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DOCUMENT_COUNT = 3000
CONTROL_STEPS = 80
CONTROL_RATE = 5e-4
LONGER = 1.2


def main() -> None:
    """Read the command line and print one line of JSON for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("scores", "control"):
        commands.add_parser(name).add_argument("folders", type=Path, nargs="+")
    train = commands.add_parser("train")
    train.add_argument("--out", type=Path, required=True)
    train.add_argument("names", nargs="*", default=list(catalogue.NAMES))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.command == "train":
        train_both(asked.names, asked.out)
        return
    figures = scores if asked.command == "scores" else control
    with tempfile.TemporaryDirectory() as folder:
        texts = write_texts(Path(folder) / "held_out.jsonl")
        for model in asked.folders:
            print(json.dumps({"model": str(model), **figures(model, texts)}), flush=True)


def train_both(names: list[str], out: Path) -> None:
    """Train every model as it is shipped into `out` and 20 % longer into `out`/longer, two models at a time."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(train_one, names, [out] * len(names)))


def train_one(name: str, out: Path) -> None:
    """Train one model with both schedules; until the shorter one falls they are one run, so that part is run once."""
    short, started = BuildSettings(), time.monotonic()
    longer = replace(short, steps=round(short.steps * LONGER))
    trainer, long_schedule, tokenizer = prepared(name, longer)
    schedule = replace(long_schedule, steps=short.steps)

    def report(step: int, loss: float) -> None:
        if step % 100 == 0:
            print(f"{name} {step} loss {loss:.3f} {time.monotonic() - started:.0f} s", flush=True)

    trainer.run(schedule, until=schedule.fall_start, on_step=report)
    shared = trainer.snapshot()
    trainer.run(schedule, until=schedule.steps, on_step=report)
    _write(trainer.model, tokenizer, out / name)
    trainer.restore(shared)
    trainer.run(long_schedule, until=long_schedule.steps, on_step=report)
    _write(trainer.model, tokenizer, out / "longer" / name)


def _write(model: PreTrainedModel, tokenizer: Tokenizer, folder: Path) -> None:
    # Saving rounds to FP16, and the trainer goes on from the full weights.
    save(copy.deepcopy(model), folder)
    vocabulary.save(tokenizer, folder)


def scores(folder: Path, texts: Path) -> dict[str, object]:
    """Bits per byte of a model as it is and with half of its MLP channels removed, and its task scores, both ways."""
    model, tokenizer = _load(folder)
    dense_tasks = task_scores(model, tokenizer)
    halve_mlp(model)
    pruned_tasks = task_scores(model, tokenizer)
    dense, pruned = bits_per_byte(folder, texts), _altered(model, tokenizer, texts)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "bits_per_byte": dense,
        "bits_per_byte_half_mlp": pruned,
        "rise": pruned / dense - 1,
        "tasks": {
            task: {
                "accuracy": round(score.accuracy, 3),
                "half_mlp": round(pruned_tasks[task].accuracy, 3),
                "chance": round(score.chance, 3),
                "items": score.item_count,
                "standard_errors_above_chance": round(score.standard_errors_above, 1),
            }
            for task, score in dense_tasks.items()
        },
    }


def control(folder: Path, texts: Path) -> dict[str, object]:
    """Bits per byte before and after a little more training of the dense model and of its half."""
    before = bits_per_byte(folder, texts)
    dense, tokenizer = _load(folder)
    pruned, _ = _load(folder)
    halve_mlp(pruned)
    _train(dense)
    _train(pruned)
    return {
        "bits_per_byte": before,
        "dense_control": _altered(dense, tokenizer, texts),
        "half_mlp_recovered": _altered(pruned, tokenizer, texts),
    }


def write_texts(path: Path) -> Path:
    """Distinct validation documents as JSON lines."""
    seen: dict[str, str] = {}
    for item in items("validation", seed=1):
        seen.setdefault(item.key, item.document)
        if len(seen) == DOCUMENT_COUNT:
            break
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in seen.values()))
    total = sum(len(text.encode()) for text in seen.values())
    print(json.dumps({"held_out_documents": len(seen), "held_out_bytes": total}), flush=True)
    return path


def bits_per_byte(folder: Path, texts: Path) -> float:
    """Bits per byte of a checkpoint, every document scored whole after the begin token."""
    request = BitsPerByteRequest(checkpoints=(str(folder),), texts=str(texts), window_tokens=256, threads=1)
    return measure_bits_per_byte(request, silent)[0].bits_per_byte


@torch.no_grad()
def halve_mlp(model: PreTrainedModel) -> None:
    """Remove the half of each layer's MLP channels that has the smaller L1 norm.

    A removed channel is zero in every matrix and bias, which is the same function as a narrower MLP; no gradient
    reaches it, so it stays removed in training.
    """
    for layer in model.model.layers:
        rows, column = _mlp(layer)
        score = column.abs().sum(dim=0) + sum(weight.abs().flatten(1).sum(dim=1) for weight in rows if weight.ndim > 1)
        gone = score.argsort()[: len(score) // 2]
        for weight in rows:
            weight[gone] = 0.0
        column[:, gone] = 0.0


def _mlp(layer: torch.nn.Module) -> tuple[list[torch.Tensor], torch.Tensor]:
    """What holds a channel as a row (matrices and biases), and the matrix that holds it as a column."""
    mlp = layer.mlp
    if hasattr(mlp, "fc1"):
        return [mlp.fc1.weight, mlp.fc1.bias], mlp.fc2.weight
    return [mlp.gate_proj.weight, mlp.up_proj.weight], mlp.down_proj.weight


def _load(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model, AutoTokenizer.from_pretrained(folder)


def _altered(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Path) -> float:
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return bits_per_byte(Path(folder), texts)


def _train(model: PreTrainedModel) -> None:
    """A short training run on fresh items of the training split."""
    settings = BuildSettings()
    schedule = training.Schedule(steps=CONTROL_STEPS, peak_rate=CONTROL_RATE, warmup_steps=10)
    tokenizer = vocabulary.train(
        seed=settings.seed, vocabulary_size=settings.vocabulary_size, item_count=settings.vocabulary_items
    )
    count = CONTROL_STEPS * schedule.batch_size
    packed = windows.pack(tokenizer, count=count, length=settings.window_tokens, seed=1)
    model.train()
    training.Trainer(model, packed).run(schedule, until=CONTROL_STEPS)
    model.eval()


if __name__ == "__main__":
    main()
