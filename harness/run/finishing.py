"""The plugin's hooks after the last step: package, extra metrics, extra findings; never an official figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import JsonValue, TypeAdapter

from harness.checkpoint.checkpoint import files_digest, list_files
from harness.deployment.transformers_package import package as package_for_transformers
from harness.rules.finding import Finding
from harness.run.code import engine_versions
from harness.run.stepping import Product, perform
from harness.run.strategy import reference
from harness.submission.file_record import FileRecord
from harness.submission.measurements import PluginMetric
from harness.submission.model_result import PackageRecord

if TYPE_CHECKING:
    from pathlib import Path

    from harness.run.observer import Observer
    from harness.run.preparation import Prepared
    from harness.run.protocol import WorkerRequest
    from harness.run.strategy import Strategy

FINDINGS = TypeAdapter(tuple[Finding, ...])
METRICS = TypeAdapter(tuple[PluginMetric, ...])


def package_of(prepared: Prepared, strategy: Strategy, observer: Observer) -> PackageRecord:
    """The final checkpoint, packaged by the plugin, or by the harness where the plugin is silent."""

    def work(folder: Path) -> Product:
        answer = prepared.host.call(_request(prepared, strategy, "deploy", folder), folder, observer.event)
        made = folder / "work" / "package"
        value: JsonValue = answer.value
        if isinstance(value, dict):
            made = folder / "work" / str(value["path"])
        else:
            package_for_transformers(strategy.final.path, made)
            value = {"format": "transformers", "notes": {}}
        return Product(value=value, duration_s=answer.duration_s, peak_memory_bytes=answer.peak_memory_bytes, made=made)

    label = f"deploy   {strategy.model.name} final"
    observer.started(label)
    done = perform(prepared.workspace, _depends_on(prepared, strategy, "deploy"), work)
    value = done.record.value if isinstance(done.record.value, dict) else {}
    files = list_files(prepared.workspace.output(done.record.key))
    size = sum(file.size_bytes for file in files)
    observer.finished(label, f"{value['format']}, {size / 1e6:.1f} MB", done.record.duration_s, reused=done.reused)
    return PackageRecord(
        format=str(value["format"]),
        package_digest=files_digest(files),
        size_bytes=size,
        checkpoint_digest=strategy.final.digest,
        files=tuple(FileRecord(name=file.name, size_bytes=file.size_bytes, sha256=file.sha256) for file in files),
    )


def plugin_metrics(prepared: Prepared, strategy: Strategy) -> tuple[PluginMetric, ...]:
    """Metrics of the plugin's own, under its name."""

    def work(folder: Path) -> Product:
        answer = prepared.host.call(_request(prepared, strategy, "evaluate", folder), folder, _ignore)
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
    return FINDINGS.validate_python(prepared.host.call(request, folder, _ignore).value)


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
        "engines": dict(engine_versions()),
    }


def _ignore(event: dict[str, object]) -> None:
    del event
