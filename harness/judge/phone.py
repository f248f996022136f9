"""The protocol on a phone, through ExecuTorch's own runner of language models (``llama_main``).

    push   model.pte, model.ptd, tokenizer.json, the runner ── SHA-256 on the phone = SHA-256 here, or it is no figure
    run    warm-up + repeats, a fresh process each: ./llama_main … ── "PyTorchObserver {json}" ──> counts and times
           beside it a loop reads VmHWM of that process until it is gone
    clean  the folder on the phone is removed

The runner is built for the phone by its owner (ExecuTorch's examples/models/llama); it counts the prompt's tokens
itself and its clock has milliseconds. No phone was attached where this was written: the dialogue is tested with a
stand-in for adb.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from harness.checkpoint.checkpoint import sha256_of
from harness.document import Document, digest_of
from harness.errors import MeasurementFailed
from harness.judge.intervals import MedianInterval, median_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness.judge.adb import Adb
    from harness.progress import Progress

FOLDER: Final = "/data/local/tmp/edge-llm-harness"
PROGRAM, DATA, TOKENIZER, RUNNER = "model.pte", "model.ptd", "tokenizer.json", "llama_main"
RUN_S: Final = 1800.0
OBSERVER: Final = re.compile(r"^.*?PyTorchObserver (\{.*\})\s*$", re.MULTILINE)
HIGH_WATER: Final = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
WORD: Final = " one"
PROPERTIES: Final = {
    "manufacturer": "ro.product.manufacturer",
    "model": "ro.product.model",
    "android": "ro.build.version.release",
    "chip": "ro.soc.model",
    "abi": "ro.product.cpu.abi",
}
SCRIPT: Final = """cd {folder} || exit 90
{command} > out.txt 2>&1 &
runner=$!
while now=$(grep VmHWM /proc/$runner/status 2>/dev/null); do peak=$now; sleep 0.05; done
wait $runner
code=$?
cat out.txt
echo "$peak"
exit $code"""
"""A process that has ended has no VmHWM, so the loop ends with it."""


class PhoneRun(Document):
    """What the runner said of one process."""

    prompt_tokens: int = Field(gt=0)
    generated_tokens: int = Field(gt=0)
    """As the runner counts them for its own rate."""
    load_s: float = Field(ge=0)
    prefill_s: float = Field(gt=0)
    """From the call with the prompt to the end of its evaluation, tokenising included."""
    first_token_s: float = Field(gt=0)
    decode_s: float = Field(gt=0)
    """From the end of the prompt's evaluation to the last token."""
    peak_memory_bytes: int = Field(gt=0)
    """VmHWM, as last seen every 50 ms."""


class PhoneMeasurement(Document):
    """Figures of one package on one phone; the phone's serial number is not part of it."""

    kind: Literal["phone figures"] = "phone figures"
    phone: dict[str, str]
    model: str
    runner_sha256: str
    program_sha256: str
    data_sha256: str | None
    """Of the weights; none where they are in the program."""
    thread_count: int = Field(gt=0)
    runs: tuple[PhoneRun, ...]
    prefill_tokens_per_s: MedianInterval
    decode_tokens_per_s: MedianInterval
    time_to_first_token_s: MedianInterval
    peak_memory_bytes: int = Field(gt=0)
    """Largest of the runs; the runner and its libraries included."""


class PhoneProtocol(Document):
    """What is run on the phone, and how often."""

    prefill_tokens: int = Field(gt=0)
    decode_tokens: int = Field(gt=0)
    repeats: int = Field(gt=0)
    warm_up: int = Field(default=1, ge=0)
    threads: int = Field(gt=0)


def measure_on_phone(
    adb: Adb, package: Path, runner: Path, protocol: PhoneProtocol, progress: Progress
) -> PhoneMeasurement:
    """Push, run, clean up.

    Args:
        adb: With a phone chosen.
        package: An ExecuTorch package.
        runner: ``llama_main``, built for the phone.
        protocol: Tokens and repeats.
        progress: Told after every run.

    Raises:
        MeasurementFailed: adb or the runner failed, or what arrived on the phone is not what was sent.
    """
    sent = _files(package, runner)
    digests = {name: sha256_of(path) for name, path in sent.items()}
    folder = f"{FOLDER}/{digest_of([*sorted(digests.values())])[:16]}"
    try:
        _send(adb, sent, digests, folder)
        command = _command(adb, folder, sent, protocol)
        runs = _repeat(lambda: _run_once(adb, folder, command), protocol, progress)
    finally:
        with contextlib.suppress(MeasurementFailed):  # a phone that was unplugged keeps its copy; the cause is told
            adb.shell(["rm", "-rf", folder])
    return PhoneMeasurement(
        phone=_describe(adb),
        model=package.resolve().name,
        runner_sha256=digests[RUNNER],
        program_sha256=digests[PROGRAM],
        data_sha256=digests.get(DATA),
        thread_count=protocol.threads,
        runs=tuple(runs),
        prefill_tokens_per_s=median_interval([run.prompt_tokens / run.prefill_s for run in runs]),
        decode_tokens_per_s=median_interval([run.generated_tokens / run.decode_s for run in runs]),
        time_to_first_token_s=median_interval([run.first_token_s for run in runs]),
        peak_memory_bytes=max(run.peak_memory_bytes for run in runs),
    )


def parse_run(text: str) -> PhoneRun:
    """The runner's own account in what it printed.

    Source: ExecuTorch, extension/llm/runner/stats.h. Times are milliseconds of one clock.

    Raises:
        MeasurementFailed: there is none, or a figure in it cannot be.
    """
    account, high_water = OBSERVER.search(text), HIGH_WATER.findall(text)
    if account is None or not high_water:
        missing = "PyTorchObserver line" if account is None else "VmHWM"
        raise MeasurementFailed(f"phone: no {missing} in what the runner printed; its last words: {text[-400:]!r}")
    try:
        said: dict[str, Any] = json.loads(account.group(1))
        unit = said["SCALING_FACTOR_UNITS_PER_SECOND"]
        start, evaluated = said["inference_start_ms"], said["prompt_eval_end_ms"]
        return PhoneRun(
            prompt_tokens=said["prompt_tokens"],
            generated_tokens=said["generated_tokens"],
            load_s=(said["model_load_end_ms"] - said["model_load_start_ms"]) / unit,
            prefill_s=(evaluated - start) / unit,
            first_token_s=(said["first_token_ms"] - start) / unit,
            decode_s=(said["inference_end_ms"] - evaluated) / unit,
            peak_memory_bytes=int(high_water[-1]) * 1024,
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise MeasurementFailed(f"phone: the runner's account cannot be: {account.group(1)}: {error}") from error


def _files(package: Path, runner: Path) -> dict[str, Path]:
    files = {name: package / name for name in (PROGRAM, DATA, TOKENIZER)} | {RUNNER: runner}
    found = {name: path for name, path in files.items() if path.is_file()}
    if missing := sorted({PROGRAM, TOKENIZER, RUNNER} - found.keys()):
        raise MeasurementFailed(
            f"{package}: a phone needs {', '.join(missing)}; make the package with harness deploy --target executorch "
            "and build the runner from ExecuTorch's examples/models/llama for the phone"
        )
    return found


def _send(adb: Adb, sent: dict[str, Path], digests: dict[str, str], folder: str) -> None:
    adb.shell(["mkdir", "-p", folder])
    for name, path in sent.items():
        adb.push(path, f"{folder}/{name}")
        if (arrived := adb.sha256(f"{folder}/{name}")) != digests[name]:
            raise MeasurementFailed(f"phone: {name} arrived with SHA-256 {arrived}, sent was {digests[name]}")
    adb.shell(["chmod", "755", f"{folder}/{RUNNER}"])


def _command(adb: Adb, folder: str, sent: dict[str, Path], protocol: PhoneProtocol) -> str:
    """The runner's command line; how it calls the data file is asked of itself, for it was renamed once."""
    help_text = adb.script(f"{shlex.quote(f'{folder}/{RUNNER}')} --help 2>&1; true")
    data_flag = "data_paths" if "data_paths" in help_text else "data_path"
    flags = {
        "model_path": PROGRAM,
        **({data_flag: DATA} if DATA in sent else {}),
        "tokenizer_path": TOKENIZER,
        "prompt": WORD.lstrip() + WORD * (protocol.prefill_tokens - 1),
        "seq_len": str(protocol.prefill_tokens + protocol.decode_tokens),
        "temperature": "0",
        "cpu_threads": str(protocol.threads),
    }
    return shlex.join([f"./{RUNNER}", *(f"--{name}={value}" for name, value in flags.items())])


def _repeat(run: Callable[[], PhoneRun], protocol: PhoneProtocol, progress: Progress) -> Sequence[PhoneRun]:
    total, runs = protocol.warm_up + protocol.repeats, []
    for number in range(total):
        runs.append(run())
        progress("speed and memory on the phone", number + 1, total)
    return runs[protocol.warm_up :]


def _run_once(adb: Adb, folder: str, command: str) -> PhoneRun:
    return parse_run(adb.script(SCRIPT.format(folder=shlex.quote(folder), command=command), timeout_s=RUN_S))


def _describe(adb: Adb) -> dict[str, str]:
    """What decides the figures; a property that the phone does not know is absent."""
    said = {name: adb.shell(["getprop", key]).strip() for name, key in PROPERTIES.items()}
    memory = re.search(r"MemTotal:\s+(\d+) kB", adb.shell(["cat", "/proc/meminfo"]))
    said["memory_bytes"] = str(int(memory.group(1)) * 1024) if memory else ""
    return {name: value for name, value in said.items() if value}
