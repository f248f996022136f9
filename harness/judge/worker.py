"""The judge's fresh process: ``python -m harness.judge.worker REQUEST.json``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from harness.channel import serve
from harness.judge.requests import BitsPerByteAnswer, BitsPerByteRequest, JudgeRequest

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
    from harness.judge.performance import measure_performance

    return measure_performance(measurement, progress)


if __name__ == "__main__":
    sys.exit(serve(JudgeRequest, answer, sys.argv[1:]))
