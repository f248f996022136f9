"""``harness measure``: memory and speed of one model by protocol, on this machine or on a phone."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from harness.cli import choices
from harness.cli.console import JsonFlag, print_json, print_table

if TYPE_CHECKING:
    from harness.judge.host_figures import HostPlan
    from harness.judge.intervals import MedianInterval
    from harness.judge.measurement import HostMeasurement
    from harness.judge.phone import PhoneMeasurement
    from harness.judge.subject import Subject
    from harness.rules.edition import MeasurementRule

EDITION: Final = "neurips-2024"
KIT_REPEATS: Final = 3
UNITS: Final = {"": 10**9, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)
TIME_LIMIT_S: Final = 24 * 3600.0
EXAMPLES = """Examples:

  harness measure pico-llama

  harness measure packages/llama --memory-limit 700MB --json

  harness measure packages/llama --device adb --runner llama_main

Figures of this machine are host figures and never stand for a phone's. A run under --memory-limit that needs more is
ended and has no result (exit code 3).
"""


class Device(StrEnum):
    """Where the model runs."""

    HOST = "host"
    ADB = "adb"
    CUDA = "cuda"


class RuntimeName(StrEnum):
    """What runs it."""

    EXECUTORCH = "executorch"
    TRANSFORMERS = "transformers"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(measure)


def measure(  # noqa: PLR0913 - the options of the command line
    model: Annotated[str, typer.Argument(help="Path of a checkpoint, package or bundle, or a name: pico-llama.")],
    *,
    device: Annotated[Device, typer.Option(help="This machine's processor, its GPU, or a phone.")] = Device.HOST,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads; the physical cores if absent, 4 on a phone.")
    ] = None,
    memory_limit: Annotated[
        str | None, typer.Option(help="Cap of memory that is enforced, e.g. 12GB or 700MB (10**6) or 700MiB (2**20).")
    ] = None,
    runtime: Annotated[
        RuntimeName | None, typer.Option(help="What runs it; the one that it is made for if absent.")
    ] = None,
    edition: Annotated[str, typer.Option(help="Id of an edition, or a .toml file: its protocol.")] = EDITION,
    repeats: Annotated[int | None, typer.Option(min=1, help="Repeats; the edition's if absent.")] = None,
    kit_repeats: Annotated[
        int, typer.Option(min=0, help="Repeats of the kit's own protocol, the second figure; 0 leaves it out.")
    ] = KIT_REPEATS,
    weights: Annotated[
        Path | None, typer.Option(help="Folder of the checkpoints that a bundle references; the workspace's if absent.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option("--model", help="Of a bundle with several: which base model.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Of a package: the checkpoint that it was made of, to predict its memory from.")
    ] = None,
    runner: Annotated[Path | None, typer.Option(help="With adb: llama_main, built for the phone.")] = None,
    serial: Annotated[str | None, typer.Option(help="With adb: which phone, where several are attached.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Measure memory and speed of a model in fresh processes: predicted, then proven."""
    from dataclasses import replace

    from harness.cli.model_argument import find_model
    from harness.judge.host_figures import HostPlan
    from harness.judge.subject import of_folder
    from harness.rules.edition import load_edition

    limit = None if memory_limit is None else size_in_bytes(memory_limit)
    rule = load_edition(edition).measurement
    rule = rule if repeats is None else rule.model_copy(update={"repeats": repeats})
    found = find_model(model, name=base_model, weights=weights)
    if device is Device.ADB:
        on_phone = _phone(found.checkpoint, rule, runner, serial, threads or 4, limit, quiet=quiet)
        print_json(on_phone.model_dump(mode="json")) if as_json else _print_phone(on_phone)
        return
    subject = replace(of_folder(found.checkpoint, checkpoint), name=found.name)
    plan = HostPlan(rule=rule, memory_limit_bytes=limit, kit_repeats=kit_repeats)
    measured = _host(subject, plan, device, threads, runtime, quiet=quiet)
    print_json(measured.model_dump(mode="json")) if as_json else _print_host(measured, rule)


def size_in_bytes(typed: str) -> int:
    """``12GB``, ``700 MiB``, ``12`` (GB); raises ``UsageError``."""
    from harness.errors import UsageError

    match = SIZE.fullmatch(typed.strip())
    factor = UNITS.get(match.group(2).lower()) if match else None
    size = int(float(match.group(1)) * factor) if match and factor else 0
    if size < 1:
        units = "kB, MB, GB (10**3, 10**6, 10**9), KiB, MiB, GiB (2**10, 2**20, 2**30)"
        raise UsageError(f"--memory-limit {typed!r}: expected a number above 0 and a unit of {units}; without one: GB")
    return size


def _host(  # noqa: PLR0913 - what was typed
    subject: Subject,
    plan: HostPlan,
    device: Device,
    threads: int | None,
    runtime: RuntimeName | None,
    *,
    quiet: bool,
) -> HostMeasurement:
    import tempfile

    import psutil

    from harness.cli.watching import Watcher
    from harness.containment import Limits
    from harness.judge.host_figures import measure_on_host
    from harness.judge.measure import Surroundings

    ceiling = int(psutil.virtual_memory().total * choices.MEMORY_SHARE)
    with Watcher(quiet=quiet) as watcher, tempfile.TemporaryDirectory(prefix="harness-measure-") as work:
        watcher.started(f"measuring {subject.name}")
        around = Surroundings(
            work_dir=Path(work),
            limits=Limits(time_s=TIME_LIMIT_S, memory_bytes=ceiling),
            on_event=watcher.event,
            device="cpu" if device is Device.HOST else device.value,
            threads=threads or psutil.cpu_count(logical=False) or 1,
        )
        return measure_on_host(subject, plan, around, None if runtime is None else runtime.value)


def _phone(  # noqa: PLR0913, PLR0917 - what was typed
    folder: Path,
    rule: MeasurementRule,
    runner: Path | None,
    serial: str | None,
    threads: int,
    limit: int | None,
    *,
    quiet: bool,
) -> PhoneMeasurement:
    from harness.cli.watching import Watcher
    from harness.errors import MeasurementFailed, UsageError
    from harness.judge.adb import NO_ADB, Adb
    from harness.judge.memory import over_the_cap
    from harness.judge.phone import PhoneProtocol, measure_on_phone

    adb = Adb.find()
    if adb is None:
        raise UsageError(f"--device adb: {NO_ADB}")
    phone = adb.choose(serial)
    if runner is None:
        raise UsageError("--device adb: --runner is missing: llama_main of ExecuTorch, built for the phone")
    protocol = PhoneProtocol(
        prefill_tokens=rule.prefill_tokens, decode_tokens=rule.decode_tokens, repeats=rule.repeats, threads=threads
    )
    with Watcher(quiet=quiet) as watcher:

        def report(label: str, done: int, total: int, detail: str = "") -> None:
            watcher.event({"event": "progress", "label": label, "done": done, "total": total, "detail": detail})

        found = measure_on_phone(phone, folder, runner, protocol, report)
    if limit is not None and found.peak_memory_bytes > limit:
        raise MeasurementFailed(f"on the phone: {over_the_cap(found.peak_memory_bytes, limit)}")
    return found


def _print_host(found: HostMeasurement, rule: MeasurementRule) -> None:
    performance, host = found.performance, found.performance.host
    typer.echo(f"{found.model}   host figures, not a phone's   {performance.runtime}   {performance.dtype}")
    typer.echo(f"because {found.why_this_runtime}")
    if host is not None:
        typer.echo(
            f"on {performance.device_name}, {performance.thread_count} threads of {host.usable_cores} cores, "
            f"{host.memory_bytes / 1e9:.1f} GB, load {host.load_at_start:.2f} at the start, "
            f"governor {host.governor or 'not shown'}"
        )
    typer.echo(f"weights {found.weights_digest}\n")
    speeds = found.speeds
    rows = [
        _row(f"prefill, {performance.prefill_tokens} tokens", speeds.prefill_tokens_per_s, "tokens/s"),
        _row(f"decode, {performance.decode_tokens} tokens", speeds.decode_tokens_per_s, "tokens/s"),
        _row("first token", speeds.time_to_first_token_s, "s"),
        _row("CPU over wall, decode", speeds.decode_cpu_share, "cores"),
    ]
    if found.kit is not None:
        length = "" if found.kit.kit_length else ", not the kit's 2,000"
        rows.append(
            (
                f"kit: forward of {found.kit.forward_tokens}{length}",
                f"{found.kit.inferences_per_s:.4g}",
                "",
                "inferences/s",
            )
        )
        if (raw := found.kit.kit_compatible_inferences_per_s) is not None:
            rows.append(("kit, as its script times it", f"{raw:.4g}", "", "inferences/s, not synchronised"))
    print_table(("", "median", f"{speeds.decode_tokens_per_s.confidence:.1%} interval", ""), rows)
    _print_memory(found, rule)


def _print_memory(found: HostMeasurement, rule: MeasurementRule) -> None:
    performance, predicted = found.performance, found.predicted
    rows = [("measured", megabytes(performance.peak_memory_bytes), performance.memory_method)]
    if performance.gpu is not None:
        rows += [
            ("  allocated", megabytes(performance.gpu.allocated_bytes), "largest sum of tensors"),
            ("  on the device", megabytes(performance.gpu.device_bytes), "everything, other processes included"),
        ]
    if predicted is not None:
        ratio = f"{found.predicted_over_measured:.3f} of the measured"
        rows.append(("predicted", megabytes(predicted.total_bytes), ratio))
        parts = ("runtime", "weights", "cache", "activation", "logits", "staging")
        rows += [(f"  {part}", megabytes(getattr(predicted, f"{part}_bytes")), "") for part in parts]
    cap = "none was enforced; --memory-limit does" if found.memory_limit_bytes is None else "enforced, and held"
    rows.append(("cap", megabytes(found.memory_limit_bytes) if found.memory_limit_bytes else "-", cap))
    rows.append(("the edition's limit", megabytes(rule.memory_limit_bytes), rule.memory_limit_reading))
    typer.echo()
    print_table(("memory", "MB (10**6)", ""), rows)


def _print_phone(found: PhoneMeasurement) -> None:
    phone = "  ".join(f"{key} {value}" for key, value in found.phone.items())
    typer.echo(f"{found.model}   phone figures   {phone}   {found.thread_count} threads\n")
    first = found.runs[0]
    rows = [
        _row(f"prefill, {first.prompt_tokens} tokens", found.prefill_tokens_per_s, "tokens/s"),
        _row(f"decode, {first.generated_tokens} tokens", found.decode_tokens_per_s, "tokens/s"),
        _row("first token", found.time_to_first_token_s, "s"),
        ("peak memory", megabytes(found.peak_memory_bytes), "", "MB (10**6), VmHWM of the runner"),
    ]
    print_table(("", "median", f"{found.decode_tokens_per_s.confidence:.1%} interval", ""), rows)


def _row(name: str, interval: MedianInterval, unit: str) -> tuple[str, str, str, str]:
    return name, f"{interval.median:.4g}", f"{interval.low:.4g} .. {interval.high:.4g}", unit


def megabytes(size_bytes: int) -> str:
    """Decimal megabytes, one digit after the point."""
    return f"{size_bytes / 1e6:,.1f}"
