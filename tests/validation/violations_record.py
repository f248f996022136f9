"""How to break the rules about the record: data, looks, overlap, memory, provenance, packages, tracks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.rules.edition import load_edition
from harness.rules.finding import Place
from harness.submission.looks import look_after
from harness.submission.signature import SIGNATURE, sign_bundle
from tests.validation.make import digest
from tests.validation.violations import FINAL, OTHER, RECORD, Violation, place, puts, sets

if TYPE_CHECKING:
    from tests.validation.make import Made

LEDGER = "ledger.json"
LOCK = "lock.json"
SPEED = f"{FINAL}.measurements.performance"


def derive(made: Made, token_count: int, *parents: str) -> None:
    """A second entry of the first step of the ledger, with parents."""

    def edit(ledger):
        entries = ledger["steps"][0]["entries"]
        entries.append(entries[0] | {"data": "made", "token_count": token_count, "parents": parents})

    made.change(LEDGER, edit)


def overlaps(made: Made, *, items: int, touched: int, held: int) -> None:
    counted = {"task": "gsm8k", "item_count": items, "touched_count": touched, "held_count": held, "sample_count": 1}
    made.set(LEDGER, "steps.0.overlaps", [counted | {"examples": [{"item": "test.jsonl:1", "sample": 7}]}])


def look(made: Made, *, unreported: int = 0, leave_out: int = 0) -> list[dict]:
    """A ledger of looks: every score of the record but ``leave_out``, and some at checkpoints that it does not have."""
    scored = [
        (model["name"], score["task"], result["checkpoint"]["checkpoint_digest"])
        for model in made.read(RECORD)["models"]
        for result in model["checkpoints"]
        for score in result["measurements"]["evaluation"]["tasks"]
    ][leave_out:]
    looks = []
    for model, task, checkpoint in [*scored, *(("llama", "humaneval", digest(str(n))) for n in range(unreported))]:
        looks.append(look_after(looks, model=model, task=task, checkpoint_digest=checkpoint))
    written = [one.model_dump(mode="json") for one in looks]
    made.set(LEDGER, "looks", written)
    return written


def forget_a_look(made: Made) -> None:
    looks = look(made, unreported=4)
    made.set(LEDGER, "looks", [*looks[:-3], *looks[-2:]])


def read_locally(made: Made, **fields: object) -> None:
    revision = load_edition("demo").data["c4"].revision
    fields = {"origin": "local", "revision": revision, "file_sha256": OTHER} | fields
    made.change(LEDGER, lambda ledger: ledger["steps"][0]["entries"][0].update(fields))


def signed(made: Made) -> None:
    sign_bundle(made.path, Ed25519PrivateKey.generate())


def forge(made: Made) -> None:
    signed(made)
    document = made.read(SIGNATURE)
    document["signature"] = "0" * 128
    (made.path / SIGNATURE).write_text(json.dumps(document))


def sign_and_change(made: Made) -> None:
    signed(made)
    made.put("README.md", "better\n")


def from_scratch(made: Made, *, steps: bool = True) -> None:
    """The same record as an entry of the scratch track, which it is not."""
    edition = load_edition("neurips-2024")

    def edit(record):
        record["track"] = "scratch"
        record["eligible"], record["notice"] = True, ""
        record["edition"] = {"id": edition.id, "version": edition.version, "rules_digest": edition.content_digest()}
        for model in record["models"]:
            model["steps"] = model["steps"] if steps else []

    made.change(RECORD, edit)


OF_ANOTHER_EDITION = frozenset({"lock.agrees", "models.base_named", "models.complete", "data.allowed", "track.scratch"})
BASES = tuple(place(RECORD, f"models.{number}.base.embedded") for number in range(3))

RECORD_VIOLATIONS: dict[str, tuple[Violation, ...]] = {
    "edition.forbidden_method": (
        sets(RECORD, "models.0.steps.0.method", "fast_GPTQ"),
        sets(RECORD, "models.2.control_steps.0.method", "quantise"),
    ),
    "measurement.protocol": (
        sets(RECORD, f"{SPEED}.decode_tokens", 8),
        sets(RECORD, "models.1.checkpoints.0.measurements.performance.repeats", 1),
    ),
    "memory.predicted": (
        sets(
            RECORD, f"{FINAL}.checkpoint.weights_bytes", 12 * 10**9, "structure.parameter_count", "memory.implausible"
        ),
    ),
    "memory.implausible": (sets(RECORD, f"{SPEED}.peak_memory_bytes", 639, "scores.mean"),),
    "data.pinned": (
        Violation(lambda made: read_locally(made, file_sha256=None), (place(LEDGER, "steps.0.entries.0.file_sha256"),)),
        Violation(
            lambda made: read_locally(made, origin="hub", revision="main"),
            (place(LEDGER, "steps.0.entries.0.revision"),),
            frozenset({"data.allowed"}),
        ),
    ),
    "data.derived": (
        Violation(lambda made: derive(made, 1, "our own"), (place(LEDGER, "steps.0.entries.1.parents.0"),)),
        Violation(lambda made: derive(made, 1, "rules:idioms", OTHER), (place(LEDGER, "steps.0.entries.1.parents.1"),)),
    ),
    "data.derived_share": (
        Violation(lambda made: derive(made, 103, "rules:idioms@1"), (place(LEDGER, "llama.student.rules"),)),
        Violation(
            lambda made: derive(made, 556, made.read(RECORD)["models"][0]["steps"][0]["checkpoint_digest"]),
            (place(LEDGER, "llama.student.model"),),
        ),
    ),
    "contamination.overlap": (
        Violation(
            lambda made: overlaps(made, items=100, touched=9, held=2), (place(LEDGER, "steps.0.overlaps.0.held_count"),)
        ),
    ),
    "contamination.counts": (
        Violation(
            lambda made: overlaps(made, items=900, touched=1, held=9),
            (place(LEDGER, "steps.0.overlaps.0.touched_count"),),
        ),
    ),
    "selection.chain": (Violation(forget_a_look, (place(LEDGER, "looks.73.digest"),), frozenset({"selection.looks"})),),
    "selection.complete": (
        Violation(
            lambda made: look(made, leave_out=1),
            (place(RECORD, "models.0.checkpoints.0.measurements.evaluation.tasks.0"),),
        ),
    ),
    "selection.looks": (Violation(lambda made: look(made, unreported=2), (place(LEDGER, "looks.llama.humaneval"),)),),
    "provenance.chain": (
        sets(RECORD, "models.0.steps.1.checkpoint_digest", OTHER, at=f"{FINAL}.checkpoint"),
        sets(RECORD, "models.0.steps.0.checkpoint_digest", OTHER, at="models.0.checkpoints.1.checkpoint"),
        sets(RECORD, "models.0.control_steps.0.checkpoint_digest", OTHER, at="models.0.checkpoints.3.checkpoint"),
    ),
    "provenance.steps": (
        Violation(
            lambda made: made.change(LOCK, lambda lock: lock["digests"].update({"llama.step.0": OTHER})),
            (place(LOCK, "digests.llama.step.0"),),
        ),
    ),
    "provenance.data_files": (
        Violation(
            lambda made: read_locally(made, files=[{"name": "a.jsonl", "size_bytes": 1, "sha256": digest("a")}]),
            (place(LEDGER, "steps.0.entries.0.file_sha256"),),
        ),
    ),
    "provenance.signature": (
        puts(SIGNATURE, "{", place(SIGNATURE)),
        Violation(forge, (place(SIGNATURE),)),
        Violation(
            sign_and_change, (Place(file="README.md", byte_offset=0), Place(file="submission.json", byte_offset=-1))
        ),
        Violation(
            lambda made: (signed(made), (made.path / "models" / "late.json").write_text("{}")),
            (place("models/late.json"),),
            frozenset({"bundle.files_digest", "bundle.schema"}),
        ),
    ),
    "package.missing": (sets(RECORD, "models.0.package", None),),
    "package.complete": (sets(RECORD, "models.0.package.format", "executorch", at="models.0.package.files"),),
    "package.digest": (
        sets(RECORD, "models.0.package.package_digest", OTHER),
        sets(RECORD, "models.0.package.size_bytes", 1),
    ),
    "package.same_weights": (
        sets(RECORD, "models.0.package.checkpoint_digest", OTHER),
        sets(RECORD, "models.0.package.files.1.sha256", OTHER, "package.digest", at="models.0.package.files"),
    ),
    "track.scratch": (Violation(from_scratch, BASES, OF_ANOTHER_EDITION),),
    "track.lineage": (
        Violation(
            lambda made: from_scratch(made, steps=False),
            tuple(place(RECORD, f"models.{number}.steps") for number in range(3)),
            OF_ANOTHER_EDITION | {"data.ledger"},
        ),
    ),
}
