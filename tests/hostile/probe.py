"""Validate one entry in a process that watches itself: what it wrote, ran and imported, and how large it grew.

``python probe.py PATH`` prints a JSON object. An audit hook sees what the interpreter does, whoever asks it to.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

RUNS = frozenset(
    (
        "os.system",
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "subprocess.Popen",
        "pickle.find_class",
        "ctypes.dlopen",
        "socket.connect",
    )
)
CHANGES = frozenset(
    (
        "os.remove",
        "os.rename",
        "os.link",
        "os.symlink",
        "os.truncate",
        "os.chmod",
        "os.mkdir",
        "os.rmdir",
        "shutil.rmtree",
    )
)
events: list[list[str]] = []
watching = False


def watch(event: str, arguments: tuple[object, ...]) -> None:
    if not watching:
        return
    if event in RUNS:
        events.append(["ran", event])
    elif event in CHANGES:
        events.append(["changed", os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes, Path)) else ""])
    elif event == "open" and isinstance(arguments[0], (str, bytes, Path)):
        flags = arguments[2] if isinstance(arguments[2], int) else 0
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            events.append(["wrote", os.fsdecode(arguments[0])])


def main(path: Path) -> None:
    global watching  # noqa: PLW0603 - an audit hook cannot be taken away again
    sys.dont_write_bytecode = True
    sys.addaudithook(watch)
    from harness.validation.batch import validate_all

    watching = True
    started = time.perf_counter()
    (report,) = validate_all([path])
    duration_s = time.perf_counter() - started
    watching = False
    peak_kib = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    here = [name for name, module in sys.modules.items() if str(path.parent) in (getattr(module, "__file__", "") or "")]
    engines = sorted({"torch", "transformers", "datasets", "pickle5"} & set(sys.modules))
    answer = {
        "report": report.model_dump(mode="json"),
        "events": events,
        "imported": here,
        "engines": engines,
        "peak_kib": peak_kib,
        "duration_s": duration_s,
    }
    print(json.dumps(answer))  # noqa: T201 - this is how it answers


if __name__ == "__main__":
    main(Path(sys.argv[1]))
