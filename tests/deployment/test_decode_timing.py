"""Runners timed in turns: as many tokens as asked, the prompt not among them, the fastest round."""

from __future__ import annotations

import itertools

import pytest

from harness.deployment import decode_timing
from harness.deployment.decode_timing import decode_seconds


class Clocked:
    """A runner for which the clock stands still but where it works."""

    def __init__(self, clock, prefill_s, step_s):
        self.clock, self.prefill_s, self.step_s, self.read = clock, prefill_s, itertools.cycle(step_s), []

    def prefill(self, token_ids):
        self.clock.now += self.prefill_s
        self.read.append(len(token_ids))
        return 1

    def step(self, token_id):
        self.clock.now += next(self.step_s)
        self.read.append(token_id)
        return token_id + 1


class Clock:
    now = 0.0

    def process_time(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(decode_timing, "time", clock)
    return clock


class TestDecodeSeconds:
    def test_the_fastest_round_without_the_prompt(self, clock):
        """Of rounds of 2, 1 and 3 seconds a token, 1; a slow prefill changes nothing."""
        slow = Clocked(clock, 100.0, [2.0] * 4 + [1.0] * 4 + [3.0] * 4)
        fast = Clocked(clock, 0.0, [0.5])
        found = decode_seconds({"slow": slow, "fast": fast}, prompt=[7, 8], token_count=4, rounds=3)
        assert found == {"slow": 1.0, "fast": 0.5}
        assert slow.read == [2, 1, 2, 3, 4] * 3, "each round starts from the prompt and feeds back what was chosen"

    @pytest.mark.parametrize("wrong", [{"rounds": 0}, {"token_count": 0}])
    def test_nothing_to_time(self, wrong):
        """No round gives no figure rather than an infinite one."""
        with pytest.raises(ValueError, match="must be at least 1"):
            decode_seconds({}, **{"prompt": [1], "token_count": 1, "rounds": 1, **wrong})
