"""What ``harness validate`` costs: a large checkpoint beside a plain read of its files, a bundle in fresh processes.

    python bench/validation.py checkpoint [--layers 32] [--folder DIR] [--rounds 2]     makes and removes 16 GB
    python bench/validation.py bundle submissions/demo/ENTRY [--weights DIR] [--processes 5]

The checkpoint has the shape of Llama-3.1-8B, random FP16 weights and shards of 5 GB; fewer layers make a smaller one.
Before each pass the files leave the page cache (posix_fadvise), and reads and validations take turns. A validation is a
process of its own: wall and processor seconds include its start, memory is its VmHWM.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from surgery_checkpoint import config_of, write_checkpoint

from harness.surgery.count import weigh

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

READ_BYTES: Final = 16 << 20
MARGIN_BYTES: Final = 4 << 30
"""Disk that has to stay free."""
GIGA: Final = 1e9
CHILD: Final = """
import json, sys
from harness.cli.app import run
code = run(["validate", *sys.argv[2:], "--json"])
status = open("/proc/self/status").read().split("VmHWM:")[1].split()[0]
seen = {"exit_code": code, "peak_bytes": 1024 * int(status), "torch": "torch" in sys.modules}
open(sys.argv[1], "w").write(json.dumps(seen))
"""
"""A validation that says what it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One pass over the files."""

    what: str
    wall_s: float
    processor_s: float
    peak_bytes: int = 0
    exit_code: int = 0
    findings: int = 0
    torch: bool = False


def drop_from_cache(folder: Path) -> None:
    """Let the files leave the page cache; what is not yet on the disk is written first."""
    for file in sorted(folder.iterdir()):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def plain_read(folder: Path) -> Pass:
    """Every file from its first byte to its last through one buffer of 16 MiB, without a look at it."""
    buffer = memoryview(bytearray(READ_BYTES))
    wall, processor = time.perf_counter(), time.process_time()
    for file in sorted(folder.iterdir()):
        with file.open("rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass
    processor_s, wall_s = time.process_time() - processor, time.perf_counter() - wall
    return Pass(what="plain read", wall_s=wall_s, processor_s=processor_s)


def validated(arguments: Sequence[str]) -> Pass:
    """``harness validate`` with ``arguments`` in a fresh process."""
    with tempfile.TemporaryDirectory() as scratch:
        seen = Path(scratch) / "seen.json"
        before, wall = os.times(), time.perf_counter()
        command = [sys.executable, "-c", CHILD, str(seen), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=scratch)
        wall_s, after = time.perf_counter() - wall, os.times()
        if not seen.is_file():
            raise RuntimeError(f"harness validate ended with {done.returncode}: {done.stderr[-2000:]}")
        figures: dict[str, Any] = json.loads(seen.read_text())
    processor_s = sum(after[2:4]) - sum(before[2:4])
    findings = sum(len(report["findings"]) for report in json.loads(done.stdout))
    return Pass(what="harness validate", wall_s=wall_s, processor_s=processor_s, findings=findings, **figures)


def passes(folder: Path, rounds: int) -> Iterator[Pass]:
    """Reads and validations in turn, each from a cold cache."""
    for _ in range(rounds):
        drop_from_cache(folder)
        yield plain_read(folder)
        drop_from_cache(folder)
        yield validated([str(folder)])


def require_room(folder: Path, size_bytes: int) -> None:
    """Exit where ``folder`` cannot take ``size_bytes``."""
    free = shutil.disk_usage(folder).free
    if free < size_bytes + MARGIN_BYTES:
        sys.exit(f"{folder}: {size_bytes / GIGA:.1f} GB and a margin of 4 are needed, {free / GIGA:.1f} GB are free")


def bench_checkpoint(layers: int, parent: Path, rounds: int) -> None:
    """Make the checkpoint, time both, remove it, print."""
    config = config_of("llama-8b", layers)
    require_room(parent, weigh(config).weights_bytes("F16"))
    with tempfile.TemporaryDirectory(dir=parent) as scratch:
        folder = Path(scratch) / "checkpoint"
        size_bytes = write_checkpoint(folder, config)
        shards = len(list(folder.glob("*.safetensors")))
        print(json.dumps({**machine(), "bytes": size_bytes, "shards": shards}, indent=2), flush=True)
        print("| pass | wall s | processor s | GB / wall s | peak MB | exit | findings | torch |")
        print("|---|---|---|---|---|---|---|---|")
        done: list[Pass] = []
        for one in passes(folder, rounds):
            done.append(one)
            print(row(one, size_bytes), flush=True)
    reads = min(one.wall_s for one in done if one.what == "plain read")
    validations = min(one.wall_s for one in done if one.what == "harness validate")
    print(
        f"validate / plain read, best of each by wall: {validations / reads:.2f}; load after: {os.getloadavg()[0]:.1f}"
    )


def row(one: Pass, size_bytes: int) -> str:
    """A line of the table."""
    figures = f"{one.wall_s:.1f} | {one.processor_s:.1f} | {size_bytes / one.wall_s / GIGA:.2f}"
    if one.what == "plain read":
        return f"| {one.what} | {figures} | | | | |"
    return f"| {one.what} | {figures} | {one.peak_bytes / 1e6:.0f} | {one.exit_code} | {one.findings} | {one.torch} |"


def bench_bundle(bundle: Path, weights: Path | None, processes: int) -> None:
    """Validate ``bundle`` in fresh processes and print each."""
    arguments = [str(bundle.resolve()), *(["--weights", str(weights.resolve())] if weights else [])]
    done = [validated(arguments) for _ in range(processes)]
    print(json.dumps({**machine(), "passes": [asdict(one) for one in done]}, indent=2))
    walls = sorted(one.wall_s for one in done)
    print(f"wall s: {', '.join(f'{wall:.2f}' for wall in walls)}; torch imported: {any(one.torch for one in done)}")


def machine() -> dict[str, str | float | int | None]:
    """What it ran on."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": names[0].partition(":")[2].strip() if names else platform.machine(),
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
    }


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    large = commands.add_parser("checkpoint")
    large.add_argument("--layers", type=int, default=32, help="32 make 16 GB, 2 make 3")
    large.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where there is room")
    large.add_argument("--rounds", type=int, default=2)
    small = commands.add_parser("bundle")
    small.add_argument("bundle", type=Path)
    small.add_argument("--weights", type=Path, help="folder with the checkpoints that the bundle references")
    small.add_argument("--processes", type=int, default=5)
    asked = parser.parse_args()
    if asked.command == "checkpoint":
        bench_checkpoint(asked.layers, asked.folder, asked.rounds)
    else:
        bench_bundle(asked.bundle, asked.weights, asked.processes)


if __name__ == "__main__":
    main()
