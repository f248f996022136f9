"""The judge's fresh process: ``python -m harness.judge.worker REQUEST.json``."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from harness.channel import serve
from harness.judge.requests import BitsPerByteAnswer, BitsPerByteRequest, FloorRequest, JudgeRequest, KitRequest

if TYPE_CHECKING:
    from harness.document import Document
    from harness.progress import Progress


def answer(request: JudgeRequest, progress: Progress) -> Document:
    """Carry out the measurement that ``request`` names."""
    # One measurement imports only what it needs: the memory figure includes what is imported.
    measurement = request.measurement
    if isinstance(measurement, BitsPerByteRequest):
        from harness.judge.bits_per_byte import measure_bits_per_byte

        return BitsPerByteAnswer(figures=measure_bits_per_byte(measurement, progress))
    if isinstance(measurement, KitRequest):
        from harness.judge.kit import measure_kit

        return measure_kit(measurement, progress)
    from harness.judge.performance import measure_floor, measure_performance

    if isinstance(measurement, FloorRequest):
        return measure_floor(measurement)
    return measure_performance(measurement, progress)


def announce() -> None:
    """Tell the host which process this is, before anything heavy: it watches the memory of a capped one."""
    sys.stdout.write(json.dumps({"event": "process", "pid": os.getpid()}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    announce()
    sys.exit(serve(JudgeRequest, answer, sys.argv[1:]))
