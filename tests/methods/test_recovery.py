"""What every recovery shares: windows that are packed once, and a step's numbers as settings."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from harness.checkpoint.checkpoint import Checkpoint
from harness.methods.recovery import STATE_EVERY_S, recovery_settings, recovery_windows
from harness.progress import silent
from harness.testing.door import embedded_door

STEP = SimpleNamespace(
    optimizer_steps=10,
    batch_windows=3,
    micro_batch_windows=2,
    learning_rate=0.5,
    warmup_fraction=0.25,
    compute="float32",
    window_tokens=32,
    mixture={"c4": 1.0},
    loss_on="response",
)


@pytest.fixture
def request_for(tiny_checkpoints, tmp_path):
    """The same step asked again, each time with a fresh door."""

    def ask(seed=0):
        student = Checkpoint.of(tiny_checkpoints["llama"])
        return SimpleNamespace(
            student=student, step=STEP, data=embedded_door(), workdir=tmp_path, seed=seed, progress=silent
        )

    return ask


class TestWindows:
    def test_each_step_has_its_own(self, request_for):
        """As many as all steps take, of the step's length, with the loss where the step wants it."""
        windows = recovery_windows(request_for())
        assert windows.token_ids.shape == (30, 32)
        assert windows.loss_mask is not None

    def test_asked_again_they_are_opened_and_accounted_for(self, request_for):
        """After a kill nothing is read anew, and the ledger says the same."""
        first, again = request_for(), request_for()
        one, other = recovery_windows(first), recovery_windows(again)
        assert one.key == other.key
        assert first.data.ledger() == again.data.ledger()

    def test_more_than_one_for_each(self, request_for):
        """Where batches grow, the step says how many there are."""
        assert len(recovery_windows(request_for(), window_count=41)) == 41


class TestSettings:
    def test_the_step_in_the_words_of_the_training(self):
        """Warm-up as a share becomes a count; what a step does not have stays as it is."""
        settings = recovery_settings(STEP, gradient_clip=0.3)
        assert (settings.optimizer_steps, settings.batch_windows, settings.micro_batch_windows) == (10, 3, 2)
        assert (settings.learning_rate, settings.warmup_count, settings.compute) == (0.5, 2, "float32")
        assert (settings.weight_decay, settings.gradient_clip) == (0.0, 0.3)
        assert settings.checkpoint_every_s == STATE_EVERY_S
