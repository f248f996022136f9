"""The plugin's hooks after the last step: package, extra metrics, extra findings; never an official figure."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from pydantic import JsonValue, TypeAdapter

from harness.checkpoint.checkpoint import files_digest, list_files
from harness.deployment.check import check_package
from harness.deployment.manifest import MANIFEST_NAME
from harness.deployment.transformers_package import describe as describe_package
from harness.deployment.transformers_package import package as package_for_transformers
from harness.errors import CheckpointCorrupt, ContractBroken, EngineFailed
from harness.rules.finding import Finding
from harness.run.digests import FILES
from harness.run.observer import ignore
from harness.run.stepping import Product, perform
from harness.run.strategy import reference
from harness.submission.describe import file_records
from harness.submission.measurements import PluginMetric
from harness.submission.model_result import PackageRecord

if TYPE_CHECKING:
    from pathlib import Path

    from harness.run.host import Answer
    from harness.run.observer import Observer
    from harness.run.preparation import Prepared
    from harness.run.protocol import WorkerRequest
    from harness.run.strategy import Strategy

FINDINGS = TypeAdapter(tuple[Finding, ...])
METRICS = TypeAdapter(tuple[PluginMetric, ...])
TRANSFORMERS = "transformers"
"""The format that is checked by running it; the runtimes of the others are not here yet."""


def package_of(prepared: Prepared, strategy: Strategy, observer: Observer) -> PackageRecord:
    """The final checkpoint, packaged by the plugin, or by the harness where the plugin is silent; checked by running.

    Raises:
        ContractBroken: the plugin's package is not whole, or does not compute what the checkpoint computes.
        EngineFailed: the same of the harness's own.
    """

    def work(folder: Path) -> Product:
        answer = prepared.host.call(_request(prepared, strategy, "deploy", folder), folder, observer.event)
        made, value = _made(answer, strategy, folder)
        if value["format"] == TRANSFORMERS:
            value["check"] = _checked(prepared, strategy, made, folder, observer, is_plugins=answer.value is not None)
        value["files"] = FILES.dump_python(list_files(made), mode="json")
        return Product(value=value, duration_s=answer.duration_s, peak_memory_bytes=answer.peak_memory_bytes, made=made)

    label = f"deploy   {strategy.model.name} final"
    observer.started(label)
    depends_on = _depends_on(prepared, strategy, "deploy") | {"packaging": prepared.packaging_digest}
    done = perform(prepared.workspace, depends_on, work)
    record = _package_record(done.record.value, strategy)
    shown = f"{record.format}, {record.size_bytes / 1e6:.1f} MB"
    observer.finished(label, shown, done.record.duration_s, reused=done.reused)
    return record


def _made(answer: Answer, strategy: Strategy, folder: Path) -> tuple[Path, dict[str, JsonValue]]:
    """The package's folder, and what is known of it."""
    if isinstance(answer.value, dict):
        made = folder / "work" / str(answer.value["path"])
        return made, {"format": answer.value["format"], "notes": answer.value["notes"]}
    package_for_transformers(strategy.final.path, folder / "work" / "package")
    return folder / "work" / "package", {"format": TRANSFORMERS, "notes": {}}


def _checked(  # noqa: PLR0913 - what is checked, where, and whose fault it is
    prepared: Prepared, strategy: Strategy, made: Path, folder: Path, observer: Observer, *, is_plugins: bool
) -> JsonValue:
    """What a fresh process found: the package computes what the checkpoint computes.

    A plugin cannot reach the harness's packaging, so the manifest of its package is written here where it lacks one.
    """
    try:
        if not (made / MANIFEST_NAME).is_file():
            describe_package(made).write(made / MANIFEST_NAME)
        limits = prepared.settings.limits
        found = check_package(
            strategy.final.path, made, work_dir=folder / "check", limits=limits, on_event=observer.event
        )
    except (CheckpointCorrupt, EngineFailed) as error:
        shutil.rmtree(made, ignore_errors=True)
        if not is_plugins:
            raise
        raise ContractBroken(
            f"plugin {prepared.plugin.name!r}: hook 'deploy' made no package of the final checkpoint: {error}"
        ) from error
    return found.model_dump(mode="json")


def _package_record(value: JsonValue, strategy: Strategy) -> PackageRecord:
    """The package as the submission names it; what the check found stands among the notes."""
    known = value if isinstance(value, dict) else {}
    files = FILES.validate_python(known["files"])
    notes = known["notes"] if isinstance(known["notes"], dict) else {}
    return PackageRecord(
        format=str(known["format"]),
        package_digest=files_digest(files),
        size_bytes=sum(file.size_bytes for file in files),
        checkpoint_digest=strategy.final.digest,
        files=file_records(files),
        notes={**notes, "check": known["check"]} if "check" in known else notes,
    )


def plugin_metrics(prepared: Prepared, strategy: Strategy) -> tuple[PluginMetric, ...]:
    """Metrics of the plugin's own, under its name."""

    def work(folder: Path) -> Product:
        answer = prepared.host.call(_request(prepared, strategy, "evaluate", folder), folder, ignore)
        return Product(value=answer.value, duration_s=answer.duration_s, peak_memory_bytes=answer.peak_memory_bytes)

    done = perform(prepared.workspace, _depends_on(prepared, strategy, "evaluate"), work)
    metrics = METRICS.validate_python(done.record.value)
    return tuple(metric.model_copy(update={"name": f"{prepared.plugin.name}.{metric.name}"}) for metric in metrics)


def plugin_findings(prepared: Prepared, bundle: Path) -> tuple[Finding, ...]:
    """Findings of the plugin's own about the bundle."""
    folder = prepared.workspace.root / "options" / f"{prepared.plugin.name}-validate"
    request = prepared.host.request(
        "validate", prepared.models[0].recipe, folder, bundle=str(bundle.resolve()), seed=prepared.settings.seed
    )
    return FINDINGS.validate_python(prepared.host.call(request, folder, ignore).value)


def _request(prepared: Prepared, strategy: Strategy, operation: str, folder: Path) -> WorkerRequest:
    return prepared.host.request(
        operation,
        strategy.model.recipe,
        folder,
        base=reference(strategy.model.base),
        student=reference(strategy.final),
        device=prepared.settings.device,
        seed=prepared.settings.seed,
    )


def _depends_on(prepared: Prepared, strategy: Strategy, operation: str) -> dict[str, JsonValue]:
    return {
        "kind": operation,
        "options": strategy.model.options.other,
        "student": strategy.final.digest,
        "base": strategy.model.base.digest,
        "seed": prepared.settings.seed,
        "device": prepared.settings.device,
        "threads": prepared.settings.threads,
        "plugin": prepared.plugin_digest,
        "harness": prepared.library_digest,
        "engines": prepared.engines,
    }
