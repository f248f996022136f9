"""The plugin's hooks after the last step: package, extra metrics, extra findings; never an official figure."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from pydantic import JsonValue, TypeAdapter

from harness.checkpoint.checkpoint import files_digest, list_files
from harness.deployment.check import check_package
from harness.deployment.manifest import MANIFEST_NAME, ExecutorchManifest, read_manifest
from harness.deployment.transformers_package import describe as describe_package
from harness.deployment.transformers_package import package as package_for_transformers
from harness.errors import CheckpointCorrupt, ContractBroken, EngineFailed
from harness.judge.edge import check_of, package_folder, package_for_record, runtime_for_record
from harness.judge.measure import Surroundings
from harness.options import Packaging
from harness.rules.finding import Finding
from harness.run.digests import FILES
from harness.run.observer import ignore
from harness.run.stepping import Done, Product, perform
from harness.run.strategy import reference
from harness.submission.describe import file_records
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
TRANSFORMERS = "transformers"
"""The format of a plugin's own that is checked by running it, and the harness's where there is no edge runtime."""


def packaging_of(prepared: Prepared, strategy: Strategy, observer: Observer) -> Packaging:
    """What the plugin says about the package of its final checkpoint, which is asked before that is measured."""
    return Packaging.model_validate(_object(_asked(prepared, strategy, observer)).get("packaging") or {})


def package_of(prepared: Prepared, strategy: Strategy, observer: Observer) -> PackageRecord:
    """The final checkpoint, packaged by the plugin, or by the harness where the plugin is silent; checked by running.

    The harness's own is, where the edge runtime is installed, the very package that memory and speed were measured on.

    Raises:
        ContractBroken: the plugin's package is not whole, or does not compute what the checkpoint computes.
        EngineFailed: the same of the harness's own.
    """
    label = f"deploy   {strategy.model.name} final"
    observer.started(label)
    done = _asked(prepared, strategy, observer)
    if "format" not in _object(done):
        done = _packaged_by_the_harness(prepared, strategy, observer)
    record = _package_record(done.record.value)
    shown = f"{record.format}, {record.size_bytes / 1e6:.1f} MB"
    observer.finished(label, shown, done.record.duration_s, reused=done.reused)
    return record


def _asked(prepared: Prepared, strategy: Strategy, observer: Observer) -> Done:
    """The plugin's answer to ``deploy``, once: a package that it made, checked, or settings, or nothing."""

    def work(folder: Path) -> Product:
        answer = prepared.host.call(_request(prepared, strategy, "deploy", folder), folder, observer.event)
        value, made = dict(answer.value) if isinstance(answer.value, dict) else {}, None
        if "format" in value:
            made = folder / "work" / str(value.pop("path"))
            value["checkpoint_digest"] = strategy.final.digest
            if value["format"] == TRANSFORMERS:
                value["check"] = _plugins_checked(prepared, strategy, made, folder, observer)
            value["files"] = FILES.dump_python(list_files(made), mode="json")
        return Product(value=value, duration_s=answer.duration_s, peak_memory_bytes=answer.peak_memory_bytes, made=made)

    depends_on = _depends_on(prepared, strategy, "deploy") | {"packaging": prepared.packaging_digest}
    return perform(prepared.workspace, depends_on, work)


def _packaged_by_the_harness(prepared: Prepared, strategy: Strategy, observer: Observer) -> Done:
    packaging, runtime = packaging_of(prepared, strategy, observer), runtime_for_record(prepared.settings.device)[0]

    def work(folder: Path) -> Product:
        started = time.monotonic()
        if runtime == TRANSFORMERS:
            made: Path | None = folder / "work" / "package"
            value = _made_for_transformers(prepared, strategy, folder, observer)
        else:
            made, value = None, _made_for_the_edge(prepared, strategy, packaging, folder, observer)
        return Product(value=value, duration_s=time.monotonic() - started, peak_memory_bytes=0, made=made)

    depends_on: dict[str, JsonValue] = {
        "kind": "package",
        "student": strategy.final.digest,
        "runtime": runtime,
        "chosen": packaging.model_dump(mode="json"),
        "protocol": prepared.edition.measurement.model_dump(mode="json"),
        "packaging": prepared.packaging_digest,
        "engines": prepared.engines,
    }
    return perform(prepared.workspace, depends_on, work)


def _made_for_transformers(
    prepared: Prepared, strategy: Strategy, folder: Path, observer: Observer
) -> dict[str, JsonValue]:
    made = folder / "work" / "package"
    made.parent.mkdir(parents=True, exist_ok=True)
    package_for_transformers(strategy.final.path, made)
    check = _checked(prepared, strategy, made, folder, observer)
    return {
        "format": TRANSFORMERS,
        "checkpoint_digest": strategy.final.digest,
        "notes": {},
        "check": check,
        "files": FILES.dump_python(list_files(made), mode="json"),
    }


def _made_for_the_edge(
    prepared: Prepared, strategy: Strategy, packaging: Packaging, folder: Path, observer: Observer
) -> dict[str, JsonValue]:
    """The package that was measured; it stays where it stands, and is made here only where it is gone from there."""
    settings = prepared.settings
    package = package_folder(prepared.workspace.packages, strategy.final.digest, prepared.packaging_digest, packaging)
    surroundings = Surroundings(
        work_dir=folder / "edge", limits=settings.limits, on_event=observer.event, threads=settings.threads
    )
    package_for_record(
        strategy.final.path,
        package=package,
        rule=prepared.edition.measurement,
        surroundings=surroundings,
        packaging=packaging,
    )
    manifest, check = read_manifest(ExecutorchManifest, package), check_of(package)
    value: dict[str, JsonValue] = {
        "format": manifest.format,
        "checkpoint_digest": manifest.checkpoint_digest,
        "notes": {
            "package": package.name,
            "dtype": manifest.dtype,
            "context_tokens": manifest.context_tokens,
            "prefill_chunk": manifest.prefill_chunk,
        },
        "files": FILES.dump_python(list_files(package), mode="json"),
    }
    return value if check is None else value | {"check": check.model_dump(mode="json")}


def _plugins_checked(prepared: Prepared, strategy: Strategy, made: Path, folder: Path, observer: Observer) -> JsonValue:
    """As ``_checked``; a fault is the plugin's, whose package then goes.

    A plugin cannot reach the harness's packaging, so the manifest of its package is written here where it lacks one.
    """
    try:
        if not (made / MANIFEST_NAME).is_file():
            describe_package(made).write(made / MANIFEST_NAME)
        return _checked(prepared, strategy, made, folder, observer)
    except (CheckpointCorrupt, EngineFailed) as error:
        shutil.rmtree(made, ignore_errors=True)
        raise ContractBroken(
            f"plugin {prepared.plugin.name!r}: hook 'deploy' made no package of the final checkpoint: {error}"
        ) from error


def _checked(prepared: Prepared, strategy: Strategy, made: Path, folder: Path, observer: Observer) -> JsonValue:
    """What a fresh process found: the package computes what the checkpoint computes."""
    limits = prepared.settings.limits
    found = check_package(strategy.final.path, made, work_dir=folder / "check", limits=limits, on_event=observer.event)
    return found.model_dump(mode="json")


def _object(done: Done) -> dict[str, JsonValue]:
    return done.record.value if isinstance(done.record.value, dict) else {}


def _package_record(value: JsonValue) -> PackageRecord:
    """The package as the submission names it; what the check found stands among the notes."""
    known = value if isinstance(value, dict) else {}
    files = FILES.validate_python(known["files"])
    notes = known["notes"] if isinstance(known["notes"], dict) else {}
    return PackageRecord(
        format=str(known["format"]),
        package_digest=files_digest(files),
        size_bytes=sum(file.size_bytes for file in files),
        checkpoint_digest=str(known["checkpoint_digest"]),
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
