"""Packages that are to be compared, timed in turns: processor time of one decoded token.

What else the machine does can only add to a round, and adds to all alike over many: the fastest round of each counts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.deployment.runner import Runner


def decode_seconds(
    runners: Mapping[str, Runner], *, prompt: Sequence[int], token_count: int, rounds: int
) -> dict[str, float]:
    """Processor seconds of a decoded token of each, by its fastest round.

    Every round each runner reads ``prompt``, untimed, and decodes ``token_count`` tokens, timed; batch 1, greedy.

    Raises:
        ValueError: no rounds or no tokens; or as ``Runner.prefill``.
    """
    if rounds < 1 or token_count < 1:
        raise ValueError(f"rounds and token_count must be at least 1, got {rounds} and {token_count}")
    fastest = dict.fromkeys(runners, float("inf"))
    for _ in range(rounds):
        for name, runner in runners.items():
            token = runner.prefill(prompt)
            started = time.process_time()
            for _ in range(token_count):
                token = runner.step(token)
            fastest[name] = min(fastest[name], (time.process_time() - started) / token_count)
    return fastest
