"""The trainer: exact resumption, the schedule's shape, windows that are prefixes of one stream."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.pico import shapes, training, vocabulary, windows

VOCABULARY = 600


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Results depend on the number of threads, so it is one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer():
    """A small vocabulary."""
    return vocabulary.train(seed=0, vocabulary_size=VOCABULARY, item_count=300)


@pytest.fixture(scope="module")
def packed(tokenizer):
    """A few short windows."""
    return windows.pack(tokenizer, count=24, length=160, seed=0)


def _trainer(packed):
    model = shapes.initialised("pico-llama", seed=0, vocabulary_size=VOCABULARY, layers=1, intermediate=32)
    return training.Trainer(model, packed)


def _weights(trainer):
    return [parameter.detach().clone() for parameter in trainer.model.parameters()]


class TestWindows:
    """`pack`."""

    def test_longer_stream_begins_with_the_shorter(self, tokenizer, packed):
        """More windows leave the first ones as they are."""
        longer = windows.pack(tokenizer, count=30, length=160, seed=0)
        assert np.array_equal(longer.tokens[:24], packed.tokens)
        assert np.array_equal(longer.asked[:24], packed.asked)

    def test_no_item_is_cut(self, packed):
        """Every window opens with the begin token and closes as many sequences as it opens turns and texts."""
        for tokens in packed.tokens:
            assert tokens[0] == vocabulary.BOS
            filled = tokens[tokens != vocabulary.PAD]
            assert filled[-1] == vocabulary.END
            closed = (tokens == vocabulary.BOS).sum() + (tokens == vocabulary.USER).sum()
            assert (tokens == vocabulary.END).sum() == closed

    def test_little_is_filled(self, packed):
        """Most of every batch is text."""
        assert (packed.tokens == vocabulary.PAD).mean() < 0.2

    def test_user_turns_are_marked(self, packed):
        """Every user token is in a marked stretch, and no text after the assistant token is marked."""
        tokens, asked = packed.tokens.ravel(), packed.asked.ravel()
        assert asked[tokens == vocabulary.USER].all()
        after = np.flatnonzero(tokens[:-1] == vocabulary.ASSISTANT) + 1
        assert not asked[after].any()


class TestSchedule:
    """`Schedule.rate`."""

    @given(st.integers(10, 500), st.integers(0, 499))
    def test_longer_schedule_starts_the_same(self, steps, step):
        """Until the shorter schedule falls, a longer one has the same rates."""
        short = training.Schedule(steps=steps)
        longer = training.Schedule(steps=round(steps * 1.2))
        if step < short.fall_start:
            assert short.rate(step) == longer.rate(step)

    @given(st.integers(10, 500))
    def test_rate_is_positive_and_falls_to_nothing(self, steps):
        """Every step learns, none above the peak, the last one least of the fall."""
        schedule = training.Schedule(steps=steps)
        rates = [schedule.rate(step) for step in range(steps)]
        assert all(0 < rate <= schedule.peak_rate for rate in rates)
        fall = rates[max(schedule.fall_start, schedule.warmup_steps) :]
        assert fall == sorted(fall, reverse=True)


class TestTrainer:
    """`Trainer`."""

    def test_learns(self, packed):
        """The loss on a handful of windows falls."""
        losses = []
        schedule = training.Schedule(steps=30, batch_size=8, warmup_steps=5)
        _trainer(packed).run(schedule, until=30, on_step=lambda _step, loss: losses.append(loss))
        assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.5

    def test_restored_run_ends_in_the_same_weights(self, packed):
        """Going back to a snapshot and on again is bit for bit the uninterrupted run."""
        schedule, trainer = training.Schedule(steps=8, batch_size=4), _trainer(packed)
        trainer.run(schedule, until=4)
        state = trainer.snapshot()
        trainer.run(schedule, until=8)
        straight = _weights(trainer)
        trainer.restore(state)
        trainer.run(schedule, until=8)
        assert all(torch.equal(a, b) for a, b in zip(straight, _weights(trainer), strict=True))
