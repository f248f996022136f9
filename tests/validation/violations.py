"""How to break every rule of the catalogue, each in one place; what is expected is the whole list of findings.

``VIOLATIONS[rule]`` holds, per way to break it, a function that breaks a true bundle and the places of the findings of
that rule. ``also`` names other rules that must speak up for the same fault; no rule may speak beyond these.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load_file, save_file

from harness.rules.finding import Place
from harness.submission.items import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.submission.measurements import ItemRecord
    from tests.validation.make import Made

RECORD = "submission.json"
FINAL = "models.0.checkpoints.2"
SCORES = f"{FINAL}.measurements.evaluation.tasks"
OTHER = "0" * 64
ITEMS = "items/llama-final-gsm8k.jsonl.gz"


@dataclass(frozen=True)
class Violation:
    breaks: Callable[[Made], object]
    places: tuple[Place, ...]
    also: frozenset[str] = field(default_factory=frozenset)


def place(file: str, name: str | None = None) -> Place:
    return Place(file=file, field=name)


def sets(name: str, path: str, value: object, *also: str, at: str | None = None) -> Violation:
    """One field of a JSON file gets another value, and that field (or ``at``) is where it is found."""
    return Violation(lambda made: made.set(name, path, value), (place(name, at or path),), frozenset(also))


def puts(name: str, content: bytes | str, at: Place, *also: str) -> Violation:
    return Violation(lambda made: made.put(name, content), (at,), frozenset(also))


def final(made: Made) -> object:
    return made.weights / "llama" / "final"


def rewrite_final(made: Made, edit: Callable[[dict], None]) -> None:
    file = made.weights / "llama" / "final" / "model.safetensors"
    tensors = load_file(file)
    edit(tensors)
    save_file(tensors, file)


def quantise(made: Made) -> None:
    def edit(tensors):
        name = "model.layers.0.mlp.up_proj.weight"
        tensors[name] = np.zeros(tensors[name].shape, np.int8)

    rewrite_final(made, edit)


def flip_last_byte(made: Made) -> None:
    file = made.weights / "llama" / "final" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def lose_final(made: Made) -> None:
    for file in (made.weights / "llama" / "final").iterdir():
        file.unlink()


def drop(name: str, path: str, last: object) -> Callable[[Made], None]:
    """Delete a key or an item below ``path``."""

    def edit(document):
        for part in path.split("."):
            document = document[int(part) if part.isdigit() else part]
        del document[last]

    return lambda made: made.change(name, edit)


def remove(made: Made, name: str) -> None:
    (made.path / name).unlink()
    made.refile()


def csv(made: Made, edit: Callable[[list[str], list[str]], None]) -> None:
    header, row = (line.split(",") for line in (made.path / "Results.csv").read_text().split())
    edit(header, row)
    made.put("Results.csv", "\n".join([",".join(header), ",".join(row), ""]))


def swap_columns(header: list[str], row: list[str]) -> None:
    header[0], header[1] = header[1], header[0]


def zero_cell(header: list[str], row: list[str]) -> None:
    row[2] = "0"


def permute_values(header: list[str], row: list[str]) -> None:
    row[6], row[7] = row[7], row[6]


def rename_folder(made: Made) -> None:
    made.path.rename(made.path.with_name("my-entry"))
    object.__setattr__(made, "path", made.path.with_name("my-entry"))


def mark_final_as_control(document) -> None:
    document["models"][0]["checkpoints"][3]["role"] = "compressed"


def keep_llama(document) -> None:
    del document["models"][1:]
    document["track"] = "demo"


def items(made: Made, edit: Callable[[list[ItemRecord]], object]) -> None:
    """Other items of gsm8k on llama's final checkpoint."""
    records = list(unpack((made.path / ITEMS).read_bytes()))
    edit(records)
    made.put(ITEMS, pack(records))


def change_an_answer(records: list[ItemRecord]) -> None:
    records[-1] = records[-1].model_copy(update={"correct": True})


VIOLATIONS: dict[str, tuple[Violation, ...]] = {
    "bundle.required_files": (
        Violation(lambda made: remove(made, "lock.json"), (place("lock.json"),)),
        Violation(lambda made: made.put("README.md", ""), (place("README.md"),)),
    ),
    "bundle.unexpected_file": (puts("weights.bin", "x", place("weights.bin")),),
    "bundle.link": (
        Violation(lambda made: (made.path / "report.html").symlink_to("/etc/passwd"), (place("report.html"),)),
        Violation(lambda made: (made.path / "code").symlink_to("/etc"), (place("code"),)),
    ),
    "bundle.file_name": (
        Violation(
            lambda made: (made.path / "a\x1b[2Jb").write_text("x"),
            (place(r"a\x1b[2Jb"),),
            frozenset({"bundle.unexpected_file"}),
        ),
    ),
    "bundle.too_large": (
        Violation(
            lambda made: made.put("models/huge.json", b"[" + b" " * (4 << 20) + b"]"),
            (place("models/huge.json"),),
            frozenset({"bundle.schema"}),
        ),
        Violation(
            lambda made: made.path.joinpath(*"abcdefgh").mkdir(parents=True),
            (place("."),),
        ),
    ),
    "bundle.schema": (
        puts("recipe.json", "{", Place(file="recipe.json", byte_offset=1)),
        puts("recipe.json", b'{"plugin": "\xff"}', Place(file="recipe.json", byte_offset=12)),
        puts("recipe.json", '{"plugin": "a", "plugin": "b"}', place("recipe.json", "plugin")),
        puts("recipe.json", "[" * 100_000, place("recipe.json")),
        puts("recipe.json", "[" * 80 + "]" * 80, place("recipe.json")),
        puts("lock.json", '{"seeds": {"submission": NaN}}', place("lock.json")),
        puts("lock.json", "1" * 5000, place("lock.json")),
        sets("recipe.json", "plugin", 7),
        sets("ledger.json", "steps.0.entries.0.surprise", 1),
    ),
    "bundle.files_digest": (
        Violation(lambda made: (made.path / "README.md").write_text("better\n"), (place("README.md"),)),
        Violation(lambda made: (made.path / "report.html").write_text("new"), (place("report.html"),)),
        Violation(
            lambda made: (made.path / ITEMS).unlink(), (place(RECORD, "files.2.name"),), frozenset({"scores.items"})
        ),
    ),
    "bundle.model_files": (
        Violation(lambda made: remove(made, "models/phi.json"), (place("models/phi.json"),)),
        Violation(lambda made: made.set("models/phi.json", "parameter_budget", 321), (place("models/phi.json"),)),
        Violation(
            lambda made: made.put("models/other.json", (made.path / "models/phi.json").read_text()),
            (place("models/other.json"),),
        ),
    ),
    "bundle.folder_name": (
        Violation(rename_folder, (place("."),)),
        sets(RECORD, "id", "2026-11-22-other-baseline-l1"),
        sets(RECORD, "team", "team nine", at="id"),
    ),
    "bundle.machine_path": (
        sets(RECORD, "models.1.steps.0.notes.state", "/home/somebody/runs/7"),
        sets(
            "recipe.json",
            "command.1",
            "C:\\Users\\somebody",
            "lock.agrees",
        ),
    ),
    "edition.assumed": (sets(RECORD, "edition.id", "neurips-1999", "edition.mismatch"),),
    "edition.mismatch": (
        sets(RECORD, "edition.version", "0.9"),
        sets(RECORD, "edition.rules_digest", OTHER, "lock.agrees"),
    ),
    "edition.track": (sets(RECORD, "track", "marathon"),),
    "edition.notice": (
        sets(RECORD, "eligible", value=True),
        sets(RECORD, "notice", ""),
    ),
    "models.base_named": (
        sets(RECORD, "models.0.base.embedded", "pico-phi"),
        sets(RECORD, "models.0.base.hub_id", "somebody/llama"),
        sets(RECORD, "models.0.base.checkpoint_digest", OTHER),
        Violation(
            lambda made: made.change(RECORD, lambda record: record["models"][2].update(name="gpt")),
            (place(RECORD, "models.2.name"),),
            frozenset({"bundle.model_files", "models.complete", "data.ledger", "lock.complete"}),
        ),
    ),
    "models.complete": (
        Violation(
            lambda made: made.change(RECORD, keep_llama),
            (place(RECORD, "models"),),
            frozenset({"bundle.model_files", "data.ledger", "scores.mean"}),
        ),
        Violation(
            lambda made: made.change(RECORD, mark_final_as_control),
            (place(RECORD, "models.0.checkpoints"),),
            frozenset({"lock.agrees", "provenance.chain"}),
        ),
        Violation(
            drop(RECORD, "models.0.checkpoints", 2),
            (place(RECORD, "models.0.checkpoints"),),
            frozenset({"scores.items", "scores.mean"}),
        ),
    ),
    "precision.dtype": (
        Violation(
            quantise,
            (
                Place(
                    file="llama.final/model.safetensors",
                    tensor="model.layers.0.mlp.up_proj.weight",
                    index=0,
                    byte_offset=-1,
                ),
            ),
            frozenset({"weights.digest", "structure.parameter_count"}),
        ),
    ),
    "weights.missing": (Violation(lose_final, (place(RECORD, f"{FINAL}.checkpoint"),)),),
    "weights.digest": (
        Violation(flip_last_byte, (place("llama.final/model.safetensors"),)),
        Violation(
            lambda made: (final(made) / "tokenizer.json").write_text("{}"), (place("llama.final/tokenizer.json"),)
        ),
        Violation(
            lambda made: made.set(RECORD, f"{FINAL}.checkpoint.files.0.sha256", OTHER),
            (place("llama.final/config.json"), place(RECORD, f"{FINAL}.checkpoint.checkpoint_digest")),
        ),
    ),
    "structure.parameter_count": (
        sets(RECORD, f"{FINAL}.checkpoint.parameter_count", 300),
        sets(RECORD, f"{FINAL}.checkpoint.weights_bytes", 1),
        sets(RECORD, f"{FINAL}.checkpoint.dtypes", ["F32"]),
        sets(RECORD, "models.1.base.parameter_count", 641),
    ),
    "structure.budget": (sets(RECORD, "models.0.parameter_budget", 319),),
    "memory.limit": (
        sets(RECORD, f"{FINAL}.measurements.performance.peak_memory_bytes", 12_000_000_000, "scores.mean"),
    ),
    "measurement.missing": (
        sets(RECORD, f"{FINAL}.measurements.performance", None, "scores.mean"),
        sets(RECORD, f"{FINAL}.measurements.bits_per_byte", None, "scores.mean"),
        sets(RECORD, f"{FINAL}.measurements.evaluation", None, "scores.items", "scores.mean", "scores.tasks_complete"),
    ),
    "measurement.same_weights": (
        sets(RECORD, f"{FINAL}.measurements.performance.checkpoint_digest", OTHER),
        sets(RECORD, "models.2.checkpoints.0.measurements.evaluation.checkpoint_digest", OTHER),
    ),
    "measurement.range": (
        sets(RECORD, "models.1.checkpoints.1.measurements.bits_per_byte.value", 0.0),
        sets(RECORD, "models.1.checkpoints.1.measurements.bits_per_byte.standard_error", "NaN"),
        sets(RECORD, "models.1.checkpoints.1.measurements.performance.peak_memory_bytes", -1),
        sets(RECORD, "models.1.checkpoints.1.measurements.performance.decode_tokens_per_s", "Infinity"),
    ),
    "measurement.item_limit": (sets(RECORD, f"{FINAL}.measurements.evaluation.item_limit", 20),),
    "data.allowed": (
        sets("ledger.json", "steps.0.entries.0.data", "the-pile"),
        sets("ledger.json", "steps.0.entries.0.hub_id", "somebody/c4"),
        Violation(
            lambda made: (
                made.set("ledger.json", "steps.0.entries.0.origin", "hub"),
                made.set("ledger.json", "steps.0.entries.0.revision", "0" * 40),
            ),
            (place("ledger.json", "steps.0.entries.0.revision"),),
        ),
    ),
    "data.ledger": (
        Violation(drop("ledger.json", "steps", 0), (place(RECORD, "models.0.steps.1"),)),
        Violation(
            lambda made: made.set("ledger.json", "steps.1.entries", []), (place(RECORD, "models.0.control_steps.0"),)
        ),
        sets("ledger.json", "steps.0.entries.0.token_count", 0),
        sets("ledger.json", "steps.0.entries.0.sample_count", -4),
        sets("ledger.json", "steps.0.entries.0.first_row", 100),
        Violation(
            lambda made: made.change(
                "ledger.json", lambda ledger: ledger["steps"].append(ledger["steps"][0] | {"step": 7})
            ),
            (place("ledger.json", "steps.6"),),
        ),
    ),
    "scores.tasks_complete": (
        Violation(drop(RECORD, SCORES, 0), (place(RECORD, SCORES),), frozenset({"scores.mean"})),
        sets(RECORD, f"{SCORES}.1.item_count", 0, at=SCORES),
    ),
    "scores.range": (
        sets(RECORD, f"{SCORES}.0.score", 101.0, "scores.mean"),
        sets(RECORD, f"{SCORES}.0.score", "NaN", "scores.mean"),
        sets(RECORD, f"{SCORES}.0.score", -0.1, "scores.mean"),
        sets(RECORD, f"{SCORES}.5.score", 28.0, "scores.mean"),
        sets(RECORD, f"{SCORES}.0.standard_error", -1.0),
        sets(
            RECORD,
            f"{SCORES}.1.subsets",
            [{"name": "snarks", "score": 200.0, "item_count": 3}],
            at=f"{SCORES}.1.subsets.0.score",
        ),
    ),
    "scores.items": (
        Violation(lambda made: items(made, lambda records: records.pop()), (place(ITEMS),)),
        Violation(
            lambda made: items(made, lambda records: records.append(records.pop() and records[0])), (place(ITEMS),)
        ),
        Violation(lambda made: items(made, change_an_answer), (place(ITEMS, "correct"),)),
        puts(ITEMS, b"no gzip", place(ITEMS)),
        puts(ITEMS, gzip.compress(b"{}\n"), place(ITEMS)),
        puts(ITEMS, gzip.compress(b"\n" * (64 << 20 | 1)), place(ITEMS)),
        puts(ITEMS, gzip.compress(b"{}\n" * 20_001), place(ITEMS)),
        puts("items/llama-final-bbh.jsonl.gz", b"", place("items/llama-final-bbh.jsonl.gz")),
        Violation(lambda made: remove(made, ITEMS), (place(RECORD, f"{SCORES}.2.items_file"),)),
        sets(RECORD, f"{SCORES}.1.items_file", ITEMS),
    ),
    "scores.scale": (
        sets(RECORD, f"{SCORES}.5.scale", 100.0),
        sets(RECORD, f"{SCORES}.0.column", "CHID"),
        sets(RECORD, f"{SCORES}.0.metric", "perplexity"),
        sets(RECORD, "models.1.checkpoints.0.measurements.evaluation.tasks.0.task", "mmlu"),
    ),
    "scores.mean": (
        sets(RECORD, "mean.tasks.0.score", 99.0, "scores.results_csv", at="mean.tasks.commonsense_qa"),
        sets(RECORD, "mean.peak_memory_bytes", 1.0, "scores.results_csv"),
        sets(RECORD, "mean.bits_per_byte", None),
    ),
    "scores.results_csv": (
        Violation(lambda made: csv(made, swap_columns), (place("Results.csv", "header"),)),
        Violation(lambda made: csv(made, zero_cell), (place("Results.csv", "GSM8K"),)),
        Violation(
            lambda made: csv(made, permute_values),
            (place("Results.csv", "Memory-Usage"), place("Results.csv", "Throughput")),
        ),
        Violation(
            lambda made: made.put("Results.csv", (made.path / "Results.csv").read_text().split()[0] + "\n"),
            (place("Results.csv", "rows"),),
        ),
    ),
    "lock.complete": (
        Violation(drop("lock.json", "packages", "torch"), (place("lock.json", "packages.torch"),)),
        Violation(drop("lock.json", "seeds", "submission"), (place("lock.json", "seeds.submission"),)),
        Violation(drop("lock.json", "digests", "phi.final"), (place("lock.json", "digests.phi.final"),)),
        Violation(drop("lock.json", "toolchains", 0), (place("lock.json", "toolchains"),)),
        sets("lock.json", "platform.cpu", ""),
    ),
    "lock.agrees": (
        sets("lock.json", "seeds.submission", 1),
        Violation(
            lambda made: made.change("lock.json", lambda lock: lock["digests"].update({"phi.final": OTHER})),
            (place("lock.json", "digests.phi.final"),),
        ),
        sets("lock.json", "plugin.code_digest", OTHER),
        sets("lock.json", "recipe.plugin", "tinytron", at="recipe"),
    ),
}
