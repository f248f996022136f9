"""The protocol of speed: the same work every time, whatever runs the model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import integers

from harness.errors import MeasurementFailed
from harness.judge.protocol import SpeedProtocol, prompt_ids, run_protocol
from harness.progress import silent


class CountingRunner:
    """A runner that remembers what it was asked; its next token is the last one plus one."""

    name, dtype, context_tokens, vocabulary_count = "counting 1.0", "float16", 64, 11

    def __init__(self, *, last=0.0):
        self.prompts, self.steps, self._last = [], [], last

    def prefill(self, token_ids):
        self.prompts.append(list(token_ids))
        return 5

    def step(self, token_id):
        self.steps.append(token_id)
        return (token_id + 1) % self.vocabulary_count

    def last_logits(self):
        return np.full(self.vocabulary_count, self._last, np.float32)


def protocol(**changes):
    return SpeedProtocol(**{"prefill_tokens": 6, "decode_tokens": 3, "repeats": 4, "warm_up": 2, **changes})


class TestRunProtocol:
    @given(repeats=integers(1, 5), warm_up=integers(1, 3), decode=integers(1, 6))
    def test_every_run_does_the_same_work(self, repeats, warm_up, decode):
        """One prompt for all; the answer goes on from its own tokens; warm-up runs are whole and do not count."""
        runner = CountingRunner()
        timings = run_protocol(runner, protocol(repeats=repeats, warm_up=warm_up, decode_tokens=decode), silent)
        assert len(timings) == repeats
        assert len(runner.prompts) == repeats + warm_up
        assert all(prompt == runner.prompts[0] for prompt in runner.prompts)
        answer = [(5 + offset) % runner.vocabulary_count for offset in range(decode)]
        assert runner.steps == answer * (repeats + warm_up)

    def test_progress_ends_at_the_end(self):
        """Every run is told, the last one as the last."""
        told = []

        def progress(label, done, total, detail=""):
            told.append((done, total))

        run_protocol(CountingRunner(), protocol(), progress)
        assert told == [(run + 1, 6) for run in range(6)]

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_logits_that_are_not_finite_are_no_speed(self, value):
        """A model that computes nothing has no figure."""
        with pytest.raises(MeasurementFailed, match=r"counting 1\.0: its logits are not finite in float16"):
            run_protocol(CountingRunner(last=value), protocol(), silent)

    def test_a_short_context_is_said_before_anything_runs(self):
        """What is needed and what there is, and no run."""
        runner = CountingRunner()
        with pytest.raises(MeasurementFailed, match=r"needs 65 tokens .60 prefill, 5 decode., its context is 64"):
            run_protocol(runner, protocol(prefill_tokens=60, decode_tokens=5), silent)
        assert runner.prompts == []


class TestPromptIds:
    @given(vocabulary=integers(1, 1000), count=integers(1, 300))
    def test_are_ids_and_always_the_same(self, vocabulary, count):
        """Within the vocabulary, and equal on every call."""
        found = prompt_ids(vocabulary, count)
        assert len(found) == count
        assert all(0 <= token_id < vocabulary for token_id in found)
        assert found == prompt_ids(vocabulary, count)
