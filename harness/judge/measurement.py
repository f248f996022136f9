"""What ``harness measure`` says of one model: our figure, the prediction beside it, and the kit's own figure.

Every number is a host's: the machine is named, and nothing here stands for a phone.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.document import Document
from harness.judge.intervals import MedianInterval, median_interval
from harness.judge.prediction import MemoryPrediction
from harness.judge.requests import Runtime
from harness.judge.results import KitForward, Performance


class Speeds(Document):
    """Medians with their intervals, by order statistics (see ``harness.judge.intervals``)."""

    prefill_tokens_per_s: MedianInterval
    decode_tokens_per_s: MedianInterval
    time_to_first_token_s: MedianInterval
    prefill_cpu_share: MedianInterval
    """CPU time over wall time, in cores: near the thread count where nobody else was at work."""
    decode_cpu_share: MedianInterval


class HostMeasurement(Document):
    """Everything that was measured on one model."""

    kind: Literal["host figures"] = "host figures"
    """Never a phone's."""
    model: str
    """As it was named: no path of the machine."""
    runtime: Runtime
    why_this_runtime: str
    weights_digest: str
    """Digest of the files that were timed: of a checkpoint over its files, of a package likewise."""
    checkpoint_digest: str
    """Of the checkpoint that the weights are: what was scored must bear the same."""
    performance: Performance
    speeds: Speeds
    predicted: MemoryPrediction | None
    """None on a GPU, and of a package without its configuration."""
    predicted_over_measured: float | None = Field(gt=0)
    """Predicted total over the measured peak of the process."""
    memory_limit_bytes: int | None
    """The cap that was enforced; none where none was asked for."""
    kit: KitForward | None


def speeds_of(performance: Performance) -> Speeds:
    """Rates of every repeat, and their medians."""
    prefill, decode = performance.prefill_s, performance.decode_s
    return Speeds(
        prefill_tokens_per_s=median_interval([performance.prefill_tokens / wall_s for wall_s in prefill]),
        decode_tokens_per_s=median_interval([performance.decode_tokens / wall_s for wall_s in decode]),
        time_to_first_token_s=median_interval(prefill),
        prefill_cpu_share=_shares(performance.prefill_cpu_s, prefill),
        decode_cpu_share=_shares(performance.decode_cpu_s, decode),
    )


def _shares(cpu_s: tuple[float, ...], wall_s: tuple[float, ...]) -> MedianInterval:
    return median_interval([cpu / wall for cpu, wall in zip(cpu_s, wall_s, strict=True)])
