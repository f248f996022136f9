"""Walk a recipe: every step of one base model, then the same training on the dense base as the control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.checkpoint.checkpoint import Checkpoint, CheckpointFile
from harness.corpora.ledger import Ledger
from harness.run.digests import FILES
from harness.run.initialising import INITIALISE
from harness.run.products import product_of
from harness.run.protocol import CheckpointReference
from harness.run.stepping import Done, Product, perform

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pydantic import JsonValue

    from harness.run.observer import Observer
    from harness.run.preparation import Prepared, PreparedModel
    from harness.run.protocol import StepDescription

Branch = Literal["student", "control"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """One step of one branch, finished."""

    step: StepDescription
    done: Done
    checkpoint: Checkpoint
    files: tuple[CheckpointFile, ...]
    """Of the checkpoint, as they were digested when the step ended."""
    parameter_count: int
    ledger: Ledger
    notes: dict[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """What the recipe made of one base model."""

    model: PreparedModel
    steps: tuple[StepOutcome, ...]
    control_steps: tuple[StepOutcome, ...]

    @property
    def final(self) -> Checkpoint:
        """The checkpoint that is submitted."""
        return self.steps[-1].checkpoint if self.steps else self.model.base

    @property
    def compressed(self) -> Checkpoint | None:
        """The student right after the last compress step, where training follows it."""
        if not self.steps or self.steps[-1].step.stage == "compress":
            return None
        compressed = [outcome.checkpoint for outcome in self.steps if outcome.step.stage == "compress"]
        return compressed[-1] if compressed else None

    @property
    def control(self) -> Checkpoint | None:
        """The dense base after the same training."""
        return self.control_steps[-1].checkpoint if self.control_steps else None


def carry_out(prepared: Prepared, model: PreparedModel, observer: Observer) -> Strategy:
    """Run every step of the recipe on ``model``, and its train steps on the base where a control is asked for.

    What initialises is no step on the way: it made the base.
    """
    asked = [index for index, step in enumerate(model.options.steps) if step.stage != INITIALISE]
    steps = _Branch(prepared, model, "student", observer).walk(asked)
    trained = [index for index, step in enumerate(model.options.steps) if step.stage == "train"]
    has_control = prepared.settings.control and len(trained) < len(steps)
    control = _Branch(prepared, model, "control", observer).walk(trained) if has_control else ()
    return Strategy(model=model, steps=steps, control_steps=control)


@dataclass(frozen=True, slots=True)
class _Branch:
    """A walk along steps of the recipe, from the base on."""

    prepared: Prepared
    model: PreparedModel
    name: Branch
    observer: Observer

    def walk(self, indices: Iterable[int]) -> tuple[StepOutcome, ...]:
        student, before = self.model.base, self.model.base_parameter_count
        outcomes: list[StepOutcome] = []
        for index in indices:
            outcomes.append(self._step(index, student, before))
            student, before = outcomes[-1].checkpoint, outcomes[-1].parameter_count
        return tuple(outcomes)

    def _step(self, index: int, student: Checkpoint, before: int) -> StepOutcome:
        step = self.model.options.steps[index]
        label = f"{'control' if self.name == 'control' else step.stage} {step.method}"
        self.observer.started(label)
        done = perform(
            self.prepared.workspace, self._depends_on(step, student), lambda folder: self._run(index, student, folder)
        )
        outcome = _outcome(self.prepared, step, done)
        self.observer.finished(label, _summary(outcome, before), done.record.duration_s, reused=done.reused)
        return outcome

    def _depends_on(self, step: StepDescription, student: Checkpoint) -> dict[str, JsonValue]:
        """Everything that a step's bytes depend on; other steps of the recipe are not part of it."""
        prepared, settings = self.prepared, self.prepared.settings
        return {
            "kind": "step",
            "step": step.model_dump(mode="json"),
            "options": self.model.options.other,
            "student": student.digest,
            "base": self.model.base.digest,
            "parameter_budget": self.model.parameter_budget,
            "data": dict(prepared.data_revisions) if step.reads_data else {},
            # Not for the weights: for the counts of what of the scored tasks the step has read.
            "evaluation": prepared.evaluation.digest if prepared.evaluation and step.reads_data else None,
            "seed": settings.seed,
            "device": settings.device,
            "threads": settings.threads,
            "plugin": prepared.plugin_digest,
            "harness": prepared.library_digest,
            "engines": prepared.engines,
            **({"is_control": True} if self.name == "control" else {}),
        }

    def _run(self, index: int, student: Checkpoint, folder: Path) -> Product:
        settings = self.prepared.settings
        request = self.prepared.host.request(
            self.model.options.steps[index].stage,
            self.model.recipe,
            folder,
            step_index=index,
            base=reference(self.model.base),
            student=reference(student),
            parameter_budget=self.model.parameter_budget,
            door=self.prepared.door.model_dump(mode="json"),
            evaluation=self.prepared.evaluation,
            device=settings.device,
            seed=settings.seed,
            is_control=self.name == "control",
        )
        return product_of(request, self.prepared.host.call(request, folder, self.observer.event), folder)


def _outcome(prepared: Prepared, step: StepDescription, done: Done) -> StepOutcome:
    value = done.record.value if isinstance(done.record.value, dict) else {}
    count, notes = value["parameter_count"], value["notes"]
    return StepOutcome(
        step=step,
        done=done,
        checkpoint=Checkpoint(path=prepared.workspace.output(done.record.key), digest=str(value["digest"])),
        files=FILES.validate_python(value["files"]),
        parameter_count=count if isinstance(count, int) else 0,
        ledger=Ledger.model_validate(value["ledger"]),
        notes=notes if isinstance(notes, dict) else {},
    )


def _summary(outcome: StepOutcome, before: int) -> str:
    if outcome.step.stage == "compress":
        return f"{millions(before)} -> {millions(outcome.parameter_count)} parameters"
    tokens = sum(entry.token_count for entry in outcome.ledger.entries)
    losses = [outcome.notes.get(name) for name in ("loss_first", "loss_last")]
    marks = zip((", loss", " ->"), losses, strict=True)
    trend = "".join(f"{mark} {value:.3f}" for mark, value in marks if isinstance(value, float))
    return f"{millions(tokens)} tokens{trend}"


def millions(count: int) -> str:
    """A count in words: ``8.03 B``, ``1.05 M``, ``512``."""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return str(count)


def reference(checkpoint: Checkpoint) -> CheckpointReference:
    """The checkpoint as a worker is told of it."""
    return CheckpointReference(path=str(checkpoint.path.resolve()), digest=checkpoint.digest)
