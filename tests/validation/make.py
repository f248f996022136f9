"""A small true bundle with real checkpoints, and the means to break it in one place at a time."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file

from harness.checkpoint.checkpoint import CheckpointFile, files_digest
from harness.corpora.ledger import LedgerEntry
from harness.rules.edition import Edition, load_edition
from harness.submission import bundle as bundles
from harness.submission import layout
from harness.submission.describe import describe_checkpoint
from harness.submission.file_record import FileRecord
from harness.submission.items import pack
from harness.submission.mean import mean_scores
from harness.submission.measurements import (
    BitsPerByte,
    Evaluation,
    ItemRecord,
    Measurements,
    Performance,
    PluginMetric,
    TaskScore,
)
from harness.submission.model_result import (
    BaseRecord,
    CheckpointRecord,
    CheckpointResult,
    ModelResult,
    PackageRecord,
    StepRecord,
)
from harness.submission.provenance import (
    CodeRecord,
    EditionRecord,
    LedgerRecord,
    Lock,
    ModelRecipe,
    PlatformRecord,
    RecipeRecord,
    StepLedger,
    ToolchainRecord,
)
from harness.submission.schema import PluginRecord, Submission

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODELS = ("llama", "qwen2", "phi")
ROLES = ("base", "compressed", "final", "control")
HIDDEN = {"base": 16, "compressed": 8, "final": 8, "control": 16}
CREATED = dt.date(2026, 11, 22)
BUDGET = 8 * 40


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_checkpoint(folder: Path, *, seed: int, hidden: int, dtype: type = np.float16) -> Path:
    """A checkpoint of one embedding and one linear, 40 * hidden parameters with hidden = 8."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    tensors = {
        "model.embed_tokens.weight": generator.standard_normal((32, hidden)).astype(dtype),
        "model.layers.0.mlp.up_proj.weight": generator.standard_normal((8, hidden)).astype(dtype),
    }
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"hidden_size": hidden, "tie_word_embeddings": True}))
    return folder


def task_scores(edition: Edition, shift: float) -> tuple[TaskScore, ...]:
    return tuple(
        TaskScore(
            task=task,
            column=rule.column,
            metric=rule.metric,
            scale=rule.scale,
            score=rule.scale * round(40 * (0.25 + shift)) / 40,
            item_count=40,
            standard_error=rule.scale * 0.07,
        )
        for task, rule in edition.tasks.items()
    )


def measurements(edition: Edition, checkpoint_digest: str, shift: float) -> Measurements:
    return Measurements(
        bits_per_byte=BitsPerByte(
            data="c4",
            split="validation",
            value=2.0 - shift,
            standard_error=0.01,
            byte_count=9000,
            token_count=3000,
            window_count=12,
            window_tokens=256,
            checkpoint_digest=checkpoint_digest,
        ),
        evaluation=Evaluation(
            engine="opencompass",
            engine_version="0.5.4",
            suite="demo",
            tasks=task_scores(edition, shift),
            checkpoint_digest=checkpoint_digest,
        ),
        performance=Performance(
            runtime="transformers 5.23.0",
            device="cpu",
            dtype="float32",
            thread_count=2,
            prefill_tokens=128,
            decode_tokens=64,
            repeats=5,
            prefill_tokens_per_s=4000.0 + shift,
            decode_tokens_per_s=100.0 + shift,
            time_to_first_token_s=0.03,
            peak_memory_bytes=400_000_000,
            memory_method="VmHWM of the measuring process",
            checkpoint_digest=checkpoint_digest,
        ),
    )


def step(stage: str, method: str, checkpoint_digest: str) -> StepRecord:
    return StepRecord(
        stage=stage,
        method=method,
        key=digest(f"{stage} {method} {checkpoint_digest}"),
        checkpoint_digest=checkpoint_digest,
        parameter_count=BUDGET,
        duration_s=1.5,
        peak_memory_bytes=300_000_000,
        notes={"loss": [3.0, 2.0]},
    )


def model_result(edition: Edition, weights: Path, name: str) -> ModelResult:
    number = MODELS.index(name)
    results = []
    for r, role in enumerate(ROLES):
        folder = write_checkpoint(weights / name / role, seed=10 * number + r, hidden=HIDDEN[role])
        record = describe_checkpoint(folder, location=f"{name}/{role}")
        shift = 0.01 * (number + r)
        results.append(
            CheckpointResult(
                role=role, checkpoint=record, measurements=measurements(edition, record.checkpoint_digest, shift)
            )
        )
    base, compressed, final, control = (result.checkpoint for result in results)
    return ModelResult(
        name=name,
        base=BaseRecord(
            embedded=edition.models[name].embedded,
            checkpoint_digest=base.checkpoint_digest,
            parameter_count=base.parameter_count,
            weights_bytes=base.weights_bytes,
        ),
        parameter_budget=BUDGET,
        steps=(
            step("compress", "l1", compressed.checkpoint_digest),
            step("train", "lora", final.checkpoint_digest),
        ),
        control_steps=(step("train", "lora", control.checkpoint_digest),),
        checkpoints=tuple(results),
        package=package_record(final),
        plugin_metrics=(PluginMetric(name="baseline-l1.kept", value=0.5, unit="share", higher_is_better=True),),
    )


def package_record(final: CheckpointRecord) -> PackageRecord:
    """A package for transformers: the checkpoint's files, a tokenizer and the manifest."""
    made = (FileRecord(name=name, size_bytes=2, sha256=digest(name)) for name in ("package.json", "tokenizer.json"))
    files = tuple(sorted((*final.files, *made), key=lambda file: file.name))
    return PackageRecord(
        format="transformers",
        package_digest=files_digest(
            tuple(CheckpointFile(name=file.name, size_bytes=file.size_bytes, sha256=file.sha256) for file in files)
        ),
        size_bytes=sum(file.size_bytes for file in files),
        checkpoint_digest=final.checkpoint_digest,
        files=files,
    )


def ledger_entry(edition: Edition, data: str) -> LedgerEntry:
    rule = edition.data[data]
    return LedgerEntry(
        data=data,
        hub_id=rule.hub_id,
        revision=rule.revision,
        origin="embedded",
        split="train",
        first_row=0,
        last_row=99,
        sample_count=100,
        token_count=5000,
        text_digest=digest(data),
    )


def true_bundle(root: Path) -> bundles.Bundle:
    """The values of a bundle without fault; its checkpoints are written under ``root / "weights"``."""
    edition = load_edition("demo")
    models = tuple(model_result(edition, root / "weights", name) for name in MODELS)
    rules = EditionRecord(id=edition.id, version=edition.version, rules_digest=edition.content_digest())
    plugin = CodeRecord(name="edge-llm-harness-baseline-l1", version="0.1.0", code_digest=digest("plugin"))
    recipe = RecipeRecord(
        plugin="baseline-l1",
        command=("harness", "submit", "--plugin", "baseline-l1"),
        models=tuple(
            ModelRecipe(name=name, source="demo.toml", parameter_budget=BUDGET, options={"steps": []})
            for name in MODELS
        ),
    )
    submission = Submission(
        id="2026-11-22-team-nine-baseline-l1",
        track="demo",
        edition=rules,
        eligible=edition.eligible,
        notice=edition.notice,
        team="team-nine",
        plugin=PluginRecord(name="baseline-l1", distribution=plugin),
        created=CREATED,
        seed=0,
        parameter_budget=0.5,
        models=models,
        mean=mean_scores(models),
    )
    bundle = bundles.Bundle(
        submission=submission,
        recipe=recipe,
        ledger=LedgerRecord(
            steps=tuple(
                StepLedger(model=name, branch=branch, step=number, entries=(ledger_entry(edition, "c4"),))
                for name in MODELS
                for branch, number in (("student", 1), ("control", 0))
            )
        ),
        lock=lock(submission, recipe),
        edition=edition,
    )
    return bundles.with_items(bundle, lambda found, task: items_of(bundle, found, task))


def items_of(bundle: bundles.Bundle, checkpoint_digest: str, task: str) -> bytes | None:
    """Items that make the score of gsm8k on llama's final checkpoint; of nothing else there are any."""
    final = bundle.submission.models[0].result("final")
    if (checkpoint_digest, task) != (final.checkpoint.checkpoint_digest, "gsm8k"):
        return None
    score = next(score for score in final.measurements.evaluation.tasks if score.task == task)
    right = round(score.score / score.scale * score.item_count)
    return pack([item(number, correct=number < right) for number in range(score.item_count)])


def item(number: int, *, correct: bool, prediction: str = "So the answer is 42.") -> ItemRecord:
    return ItemRecord(
        subset="gsm8k",
        index=number,
        prediction=prediction,
        extracted="42",
        reference="42" if correct else "41",
        correct=correct,
        prompt_tokens=600,
        generated_tokens=7,
        ended_by="eos",
    )


def lock(submission: Submission, recipe: RecipeRecord) -> Lock:
    return Lock(
        harness=CodeRecord(name="edge-llm-harness", version="0.1.0", code_digest=digest("harness")),
        plugin=submission.plugin.distribution,
        edition=submission.edition,
        platform=PlatformRecord(
            python="CPython 3.11.9", system="Linux", machine="x86_64", cpu="a cpu", thread_count=2, device="cpu"
        ),
        packages=dict.fromkeys(("numpy", "safetensors", "tokenizers", "torch", "transformers"), "1.0"),
        toolchains=(ToolchainRecord(name="opencompass", version="0.5.4", pins_digest=digest("pins")),),
        seeds={"submission": 0},
        digests={
            f"{model.name}.{result.role}": result.checkpoint.checkpoint_digest
            for model in submission.models
            for result in model.checkpoints
        },
        recipe=recipe,
    )


@dataclass(frozen=True)
class Made:
    """A bundle on disk, next to its checkpoints."""

    path: Path
    weights: Path

    def read(self, name: str) -> Any:
        return json.loads((self.path / name).read_text())

    def put(self, name: str, content: bytes | str) -> None:
        """Replace a file and let the manifest know, so that nothing but its content can be wrong."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        if name != layout.SUBMISSION and (self.path / layout.SUBMISSION).is_file():
            self.refile()

    def set(self, name: str, field: str, value: object) -> None:
        """Give one field of a JSON file another value; ``models/`` and the manifest follow."""
        document = self.read(name)
        *parents, last = [int(part) if part.isdigit() else part for part in field.split(".")]
        holder = document
        for part in parents:
            holder = holder[part]
        holder[last] = value
        self.write(name, document)

    def write(self, name: str, document: Any) -> None:
        (self.path / name).write_text(json.dumps(document))
        for model in document["models"] if name == layout.SUBMISSION else ():
            (self.path / layout.model_file(model["name"])).write_text(json.dumps(model))
        self.refile()

    def refile(self) -> None:
        """Recompute what the manifest says about the other files."""
        manifest = self.read(layout.SUBMISSION)
        names = sorted(p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file())
        files = {name: (self.path / name).read_bytes() for name in names if layout.belongs(name)}
        del files[layout.SUBMISSION]
        manifest["files"] = [record.model_dump(mode="json") for record in bundles.file_records(files)]
        (self.path / layout.SUBMISSION).write_text(json.dumps(manifest))

    def set_all(self, field: str, value: object) -> None:
        """``set`` for one field of each model, e.g. to keep a mean true."""
        for number in range(len(self.read(layout.SUBMISSION)["models"])):
            self.set(layout.SUBMISSION, f"models.{number}.{field}", value)

    def change(self, name: str, edit: Callable[[Any], None]) -> None:
        """Edit a whole JSON document in place."""
        document = self.read(name)
        edit(document)
        self.write(name, document)


def make(root: Path) -> Made:
    """The true bundle, written under ``root``."""
    bundle = true_bundle(root)
    path = bundles.write(bundle, root / "submissions" / "demo" / bundle.submission.id)
    return Made(path=path, weights=root / "weights")
