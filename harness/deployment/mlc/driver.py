"""The real mlc_llm, step by step, contained: its output and its logs are kept, its memory estimate is read.

    staged/     the checkpoint's files, config.json with rotation in MLC's fields
      gen_config  ──> package/mlc-chat-config.json, tokenizer        gen_config.log
      convert_weight ──> package/params_shard_*.bin, index           convert_weight.log
      compile     ──> model-<device>.so or .tar                      compile.log: "Total memory usage without KV cache"
      package     ──> an Android library, where mlc-llm's sources, the NDK and Rust are there
    run.json    what was run, how long, what it said

Its package is then held against the checkpoint like any other.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from harness.channel import OFFLINE
from harness.checkpoint.checkpoint import read_described_config
from harness.checkpoint.shards import read_layout
from harness.containment import run_contained
from harness.deployment.manifest import MANIFEST_NAME
from harness.deployment.mlc.chat_config import CONFIG_NAME, chat_config, config_bytes
from harness.deployment.mlc.check import check_mlc
from harness.deployment.mlc.conversation import template_names
from harness.deployment.mlc.definition import DEFINITION_NAME, definition_source
from harness.deployment.mlc.manifest import TRIED, MlcManifest
from harness.deployment.mlc.memory import COLOUR, StaticMemory, memory_in
from harness.deployment.mlc.names import naming
from harness.deployment.mlc.staging import stage
from harness.deployment.mlc.tool import MlcTool, skew_in
from harness.document import Document, write_atomically
from harness.errors import EngineFailed, UsageError
from harness.rules.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from harness.containment import Event, Limits
    from harness.deployment.mlc.names import Naming
    from harness.deployment.mlc.options import MlcOptions

RUN_NAME: Final = "run.json"
PACKAGE_NAME: Final = "package"
LOG_TAIL_LINES: Final = 8
STEPS: Final = 3
"""That are always run, or nearly so."""
UNREGISTERED: Final = ("pico", "plain")
"""Templates of ours that mlc_llm has not; it is given its plain one and ours is put in its place."""
MLC_PLAIN: Final = "LM"


class StepReport(Document):
    """One subcommand."""

    name: str
    command: tuple[str, ...]
    duration_s: float
    peak_memory_bytes: int
    log: str
    """File name beside ``run.json``."""


class MlcRun(Document):
    """What mlc_llm made of a checkpoint."""

    versions: dict[str, str]
    steps: tuple[StepReport, ...]
    library: str | None
    """The compiled model; None where it was not compiled."""
    memory: StaticMemory | None
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]
    """Its package against the checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """What mlc_llm is asked to do."""

    tool: MlcTool
    checkpoint: Path
    out: Path
    """Folder for everything that comes of it; replaced."""
    options: MlcOptions
    device: str | None = "android"
    """What to compile for, as mlc_llm calls it (``cpu``, ``android``); None compiles nothing."""
    source_dir: Path | None = None
    """Sources of mlc-llm, for ``mlc_llm package``; None packages nothing."""
    limits: Limits
    """Of each step."""


def drive(work: Drive, on_event: Callable[[Event], None]) -> MlcRun:
    """Run mlc_llm on the checkpoint and keep everything.

    Raises:
        EngineFailed: a step failed or was stopped; the message says which, and why as far as is known.
        UsageError: the transposed layout is asked for, which mlc_llm does not write.
    """
    if work.options.weight_layout != "plain":
        raise UsageError(
            "weight layout transposed: mlc_llm writes the plain one; only the harness's own package has it"
        )
    config = read_described_config(work.checkpoint)
    names = naming(config, read_layout(work.checkpoint))
    shutil.rmtree(work.out, ignore_errors=True)
    work.out.mkdir(parents=True)
    staged = stage(work.checkpoint, config, work.out / "staged")
    command = work.tool.for_definition(_definition(work, config, names))
    runner = _Runner(work, command, on_event)
    notes = list(_convert(work, runner, names, config, staged))
    library = _compile(work, runner, names)
    if work.source_dir is not None and library is not None:
        _package(work, runner, names, work.source_dir, library)
    run = MlcRun(
        versions=dict(work.tool.versions),
        steps=tuple(runner.reports),
        library=library,
        memory=memory_in((work.out / "compile.log").read_text(errors="replace")) if library else None,
        notes=tuple(notes),
        findings=check_mlc(work.out / PACKAGE_NAME, work.checkpoint),
    )
    shutil.rmtree(staged)
    run.write(work.out / RUN_NAME)
    return run


class _Runner:
    """Runs subcommands and remembers what they took."""

    def __init__(self, work: Drive, command: Sequence[str], on_event: Callable[[Event], None]) -> None:
        self._work = work
        self._command = tuple(command)
        self._on_event = on_event
        self.reports: list[StepReport] = []

    def run(self, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        """One subcommand; raises ``EngineFailed``."""
        self._on_event({"event": "progress", "label": f"mlc_llm {name}", "done": len(self.reports), "total": STEPS})
        log, started = self._work.out / f"{name}.log", time.monotonic()
        command = (*self._command, name, *arguments)
        report = run_contained(
            # What it prints and what it logs belong into one file, in their order.
            ["/bin/sh", "-c", 'exec "$@" 1>&2', "sh", *command],
            limits=self._work.limits,
            log=log,
            cwd=self._work.out,
            environment={**os.environ, **OFFLINE, **(environment or {})},
            on_event=self._on_event,
        )
        if report.stopped_for or report.exit_code:
            cause = f"stopped for {report.stopped_for}" if report.stopped_for else f"it ended with {report.exit_code}"
            raise EngineFailed(f"mlc_llm {name}: {cause}{_explained(log, self._work.tool.versions)}")
        self.reports.append(
            StepReport(
                name=name,
                command=command,
                duration_s=time.monotonic() - started,
                peak_memory_bytes=report.peak_memory_bytes,
                log=log.name,
            )
        )


def _explained(log: Path, versions: Mapping[str, str]) -> str:
    """What is known of the failure: a version skew by its symptom, the versions, the end of the log."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    symptom = skew_in(text)
    said = ", ".join(f"{name} {version}" for name, version in versions.items()) or "unknown"
    lines = [line for line in COLOUR.sub("", text).splitlines() if line.strip()][-LOG_TAIL_LINES:]
    skew = f"; {symptom.cause}: {symptom.way}" if symptom else ""
    return f"{skew}\n  versions: {said}\n  log: {log}" + "".join(f"\n  | {line}" for line in lines)


def _definition(work: Drive, config: Mapping[str, Any], names: Naming) -> Path | None:
    if not names.custom:
        return None
    path = work.out / DEFINITION_NAME
    write_atomically(path, definition_source(config).encode())
    return path


def _convert(work: Drive, runner: _Runner, names: Naming, config: Mapping[str, Any], staged: Path) -> tuple[str, ...]:
    """``gen_config`` and ``convert_weight``; what was changed in their output."""
    options, package = work.options, work.out / PACKAGE_NAME
    settings = chat_config(work.checkpoint, config, names, options)
    template = settings["conv_template"]["name"]
    known = template in template_names() and template not in UNREGISTERED
    common = ("--quantization", options.quantization, "--model-type", names.model_type, "-o", str(package))
    package.mkdir()
    runner.run(
        "gen_config",
        str(staged),
        *common,
        *("--conv-template", template if known else MLC_PLAIN),
        *("--context-window-size", str(settings["context_window_size"])),
        *("--prefill-chunk-size", str(options.prefill_chunk_size)),
        *("--max-batch-size", str(options.max_batch_size)),
    )
    runner.run("convert_weight", str(staged), *common, "--device", "cpu")
    return _own_conversation(package / CONFIG_NAME, settings["conv_template"])


def _own_conversation(path: Path, conversation: Mapping[str, Any]) -> tuple[str, ...]:
    """mlc_llm takes the ids of a template from its registry; those of this tokenizer are put in their place."""
    content = json.loads(path.read_bytes())
    found = content.get("conv_template")
    if found == conversation:
        return ()
    write_atomically(path, config_bytes({**content, "conv_template": dict(conversation)}))
    named = found.get("name") if isinstance(found, dict) else found
    return (
        f"conversation template {named!r} of mlc_llm replaced by {conversation['name']!r} with this tokenizer's ids",
    )


def _compile(work: Drive, runner: _Runner, names: Naming) -> str | None:
    if work.device is None:
        return None
    library = f"model-{work.device}.{'tar' if work.device == 'android' else 'so'}"
    runner.run(
        "compile",
        str(work.out / PACKAGE_NAME / CONFIG_NAME),
        *("--device", work.device, "-o", str(work.out / library)),
        *(("--system-lib-prefix", f"{_library_name(work, names)}_") if work.device == "android" else ()),
    )
    if not (work.out / library).is_file():
        raise EngineFailed(f"mlc_llm compile: it ended well and wrote no {library}\n  log: {work.out / 'compile.log'}")
    return library


def _library_name(work: Drive, names: Naming) -> str:
    """What the library's symbols begin with; an app finds the model by it."""
    return f"{names.model_type.replace('-', '_')}_{work.options.quantization}"


def _package(work: Drive, runner: _Runner, names: Naming, source_dir: Path, library: str) -> None:
    """The static library of an Android app; needs ``ANDROID_NDK``, cmake and Rust's target for it."""
    estimate = memory_in((work.out / "compile.log").read_text(errors="replace"))
    name = _library_name(work, names)
    entry = {
        "model": str(work.out / PACKAGE_NAME),
        "model_id": f"{work.checkpoint.name}-{work.options.quantization}",
        "model_lib": name,
        "bundle_weight": True,
        "estimated_vram_bytes": estimate.total_bytes if estimate else 0,
    }
    libraries = {name: str(work.out / library)}
    content = {"device": "android", "model_list": [entry], "model_lib_path_for_prepare_libs": libraries}
    config = work.out / "mlc-package-config.json"
    write_atomically(config, (json.dumps(content, indent=2) + "\n").encode())
    runner.run(
        "package",
        *("--package-config", str(config), "--mlc-llm-source-dir", str(source_dir), "-o", str(work.out / "dist")),
        environment={"MLC_LLM_SOURCE_DIR": str(source_dir)},
    )


def mark_tried(package: Path) -> MlcManifest:
    """Note in the manifest of our ``package`` that mlc_llm made the same of the checkpoint; the new manifest."""
    path = package / MANIFEST_NAME
    manifest = MlcManifest.read(path).model_copy(update={"state": TRIED})
    manifest.write(path)
    return manifest
