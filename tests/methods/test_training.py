from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from harness.errors import CheckpointCorrupt, MeasurementFailed
from harness.methods.batches import Batch
from harness.methods.training import TrainingSettings, causal_lm_loss, learning_rate, train
from harness.methods.training_state import FILE_NAME

SETTINGS = TrainingSettings(
    optimizer_steps=12,
    batch_windows=8,
    learning_rate=1e-2,
    warmup_count=3,
    weight_decay=0.1,
    checkpoint_every_steps=2,
)


class Killed(Exception):
    pass


def kill_at(step):
    def progress(label, done, total, detail=""):
        if done == step:
            raise Killed

    return progress


def changed(**fields):
    return dataclasses.replace(SETTINGS, **fields)


def same_weights(first, second):
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(name == other and torch.equal(a, b) for (name, a), (other, b) in pairs)


class TestResume:
    @pytest.mark.parametrize("compute", ["float32", "bfloat16"])
    @pytest.mark.parametrize("steps", [[1], [2], [7], [11], [12], [3, 3, 8]])
    def test_equals_an_uninterrupted_run(self, new_model, windows, tmp_path, steps, compute):
        """Stopped anywhere, any number of times, the run ends in the same bits and tells the same history."""
        settings = changed(compute=compute, micro_batch_windows=3)
        whole, resumed = new_model(), None
        expected = train(whole, windows, settings, state=tmp_path / "whole", seed=5)
        for step in steps:
            with pytest.raises(Killed):
                train(new_model(), windows, settings, state=tmp_path / "resumed", seed=5, progress=kill_at(step))
        resumed = new_model()
        history = train(resumed, windows, settings, state=tmp_path / "resumed", seed=5)
        assert history == expected
        assert same_weights(resumed, whole)

    def test_a_finished_training_is_not_done_again(self, new_model, windows, tmp_path):
        """All that is left to do after the last step is to read the weights."""
        first, second = new_model(), new_model()
        expected = train(first, windows, SETTINGS, state=tmp_path)
        assert train(second, windows, SETTINGS, state=tmp_path, progress=kill_at(12)) == expected
        assert same_weights(first, second)

    def test_does_not_depend_on_when_states_are_written(self, new_model, windows, tmp_path):
        """A state is a copy and disturbs nothing."""
        often, never = new_model(), new_model()
        train(often, windows, changed(checkpoint_every_steps=1), state=tmp_path / "often")
        train(never, windows, changed(checkpoint_every_steps=None), state=tmp_path / "never")
        assert same_weights(often, never)

    def test_leaves_the_random_state_of_the_caller_alone(self, new_model, windows, tmp_path):
        """Training draws from its own seeds."""
        before = torch.random.get_rng_state()
        train(new_model(), windows, SETTINGS, state=tmp_path)
        assert torch.equal(torch.random.get_rng_state(), before)

    def test_refuses_the_state_of_another_training(self, new_model, windows, tmp_path):
        """Other settings never go on from these weights."""
        train(new_model(), windows, SETTINGS, state=tmp_path)
        for other, seed in ((changed(learning_rate=1.0), 0), (SETTINGS, 1)):
            with pytest.raises(ValueError, match="state of another training"):
                train(new_model(), windows, other, state=tmp_path, seed=seed)

    def test_a_damaged_state_is_told(self, new_model, windows, tmp_path):
        """A file that is no state is named, with the way out."""
        (tmp_path / FILE_NAME).write_bytes(b"\x80\x04 pickled")
        with pytest.raises(CheckpointCorrupt, match=r"state\.safetensors.*remove it"):
            train(new_model(), windows, SETTINGS, state=tmp_path)

    def test_a_half_written_state_is_ignored(self, new_model, windows, tmp_path):
        """What was being written when the process died is not what is read."""
        (tmp_path / f".{FILE_NAME}.partial").write_bytes(b"half")
        assert len(train(new_model(), windows, SETTINGS, state=tmp_path).steps) == 12

    def test_survives_sigkill(self, tmp_path):
        """Killed by the system at random moments, again and again, it ends in the bytes of an undisturbed run."""
        script = Path(__file__).with_name("killed_training.py")
        run = subprocess.run(
            [sys.executable, script, tmp_path], capture_output=True, text=True, check=True, timeout=300
        )
        outcome = json.loads(run.stdout)
        assert outcome["kills"] >= 3
        assert outcome["resumed"] == outcome["whole"]


class TestTrain:
    def test_learns(self, new_model, windows, tmp_path):
        """The loss falls well below that of guessing, and the summary says so."""
        history = train(new_model(), windows, changed(optimizer_steps=150, learning_rate=3e-2), state=tmp_path)
        summary = history.summary()
        assert summary["loss_last"] < 0.3 * summary["loss_first"]
        assert summary["token_count"] == 150 * 8 * 12
        assert summary["history"]["optimizer_step"] == list(range(1, 151))
        assert summary["history"]["loss"][0] == pytest.approx(history.steps[0].loss, rel=1e-5)

    def test_only_what_requires_a_gradient_moves(self, new_model, windows, tmp_path):
        """Frozen weights stay bit for bit, and are not in the state either."""
        model = new_model()
        train(model, windows, SETTINGS, state=tmp_path)
        assert torch.equal(model.frozen.weight, new_model().frozen.weight)
        assert not torch.equal(model.head.weight, new_model().head.weight)
        assert b"frozen" not in (tmp_path / FILE_NAME).read_bytes()
        assert not model.training

    @pytest.mark.parametrize("micro", [1, 3, 8])
    def test_micro_batches_add_up_to_the_batch(self, new_model, windows, tmp_path, micro):
        """Split batches have the same gradient, with masked tokens counted once over the whole batch."""
        mask = np.random.default_rng(1).integers(0, 2, windows.token_ids.shape).astype(np.uint8)
        masked = dataclasses.replace(windows, loss_mask=mask)
        whole, split = new_model(), new_model()
        for model in (whole, split):
            model.dropout.p = 0.0
        train(whole, masked, SETTINGS, state=tmp_path / "whole")
        train(split, masked, changed(micro_batch_windows=micro), state=tmp_path / "split")
        for name, weight in whole.named_parameters():
            torch.testing.assert_close(split.get_parameter(name), weight, rtol=1e-4, atol=1e-5)

    def test_a_step_is_adamw_on_the_clipped_gradient(self, new_model, windows, tmp_path):
        """One step equals one made by hand with torch's own AdamW; norms do not decay."""
        settings = changed(optimizer_steps=1, batch_windows=40, gradient_clip=0.05, warmup_count=1)
        model, by_hand = new_model(), new_model()
        for each in (model, by_hand):
            each.dropout.p = 0.0
        (record,) = train(model, windows, settings, state=tmp_path).steps
        token_ids = torch.from_numpy(windows.token_ids.astype("int64"))
        loss = causal_lm_loss(by_hand, Batch(token_ids=token_ids, labels=token_ids))
        loss.backward()
        trained = [parameter for parameter in by_hand.parameters() if parameter.requires_grad]
        norm = torch.nn.utils.clip_grad_norm_(trained, 0.05)
        matrices = [parameter for parameter in trained if parameter.ndim > 1]
        vectors = [parameter for parameter in trained if parameter.ndim == 1]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
        torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95)).step()
        assert record.loss == pytest.approx(loss.item(), rel=1e-5)
        assert record.gradient_norm == pytest.approx(norm.item(), rel=1e-4)
        for name, weight in by_hand.named_parameters():
            torch.testing.assert_close(model.get_parameter(name), weight, rtol=1e-4, atol=1e-6)

    def test_a_loss_that_is_not_finite_stops_with_its_step(self, new_model, windows, tmp_path):
        """The weights of the step before are still there to be looked at, and the message says which step it was."""
        calls = []

        def loss(model, batch):
            calls.append(None)
            return causal_lm_loss(model, batch) * (float("nan") if len(calls) == 5 else 1.0)

        with pytest.raises(MeasurementFailed, match="at optimizer step 4 the loss is nan"):
            train(new_model(), windows, SETTINGS, state=tmp_path, loss=loss)

    def test_half_precision_master_weights_are_refused(self, new_model, windows, tmp_path):
        """Small updates would be rounded away."""
        with pytest.raises(ValueError, match="trained weights must be float32"):
            train(new_model().half(), windows, SETTINGS, state=tmp_path)

    def test_nothing_to_train_is_told(self, new_model, windows, tmp_path):
        """A model that is all frozen is a slip."""
        with pytest.raises(ValueError, match="nothing to train"):
            train(new_model().requires_grad_(requires_grad=False), windows, SETTINGS, state=tmp_path)

    def test_progress_counts_optimizer_steps(self, new_model, windows, tmp_path):
        """One call a step, with the loss."""
        calls = []
        train(new_model(), windows, SETTINGS, state=tmp_path, progress=lambda *call: calls.append(call))
        assert [call[:3] for call in calls] == [("training", done, 12) for done in range(1, 13)]
        assert all(call[3].startswith("loss ") for call in calls)


class TestBatchDoublings:
    DOUBLED = changed(batch_doublings=(2 * 8 * 12, 5 * 8 * 12), optimizer_steps=6)

    def test_counts_the_tokens(self, new_model, windows, tmp_path):
        """Two steps of 8 windows, two of 16 until 40 are reached, then 32: the history has their tokens."""
        history = train(new_model(), windows, self.DOUBLED, state=tmp_path)
        assert history.token_count == (2 * 8 + 2 * 16 + 2 * 32) * 12

    @pytest.mark.parametrize("step", [1, 2, 3, 5])
    def test_resumed_is_the_same(self, new_model, windows, tmp_path, step):
        """Killed before, at and after a doubling."""
        whole, resumed = new_model(), new_model()
        expected = train(whole, windows, self.DOUBLED, state=tmp_path / "whole")
        with pytest.raises(Killed):
            train(new_model(), windows, self.DOUBLED, state=tmp_path / "again", progress=kill_at(step))
        assert train(resumed, windows, self.DOUBLED, state=tmp_path / "again") == expected
        assert same_weights(resumed, whole)


class TestRateFactors:
    def test_a_factor_of_nothing_keeps_a_parameter(self, new_model, windows, tmp_path):
        """The first beginning that fits decides; the others learn at the whole rate."""
        model, settings = new_model(), changed(rate_factors=(("embed", 0.0), ("e", 5.0)), weight_decay=0.0)
        train(model, windows, settings, state=tmp_path)
        assert torch.equal(model.embed.weight, new_model().embed.weight)
        assert not torch.equal(model.head.weight, new_model().head.weight)

    def test_resumed_is_the_same(self, new_model, windows, tmp_path):
        """Factors belong to the settings, not to the state."""
        settings = changed(rate_factors=(("head", 3.0),), schedule="half-life", half_life_count=2.0)
        whole, resumed = new_model(), new_model()
        train(whole, windows, settings, state=tmp_path / "whole")
        with pytest.raises(Killed):
            train(new_model(), windows, settings, state=tmp_path / "again", progress=kill_at(7))
        train(resumed, windows, settings, state=tmp_path / "again")
        assert same_weights(resumed, whole)


class TestTorchrun:
    def test_two_processes_train_as_one(self, new_model, windows, tmp_path):
        """Under torchrun each process takes its part of the batch; the sum is the same training, and it resumes."""
        script = Path(__file__).with_name("spread_training.py")
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script, tmp_path]
        subprocess.run(launch, capture_output=True, check=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
        spread = {name: load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "resumed")}
        model = new_model()
        model.dropout.p = 0.0
        settings = changed(optimizer_steps=6, warmup_count=0, weight_decay=0.0)
        train(model, windows, settings, state=tmp_path / "one")
        for name, weight in model.state_dict().items():
            assert torch.equal(spread["whole"][name], spread["resumed"][name])
            torch.testing.assert_close(spread["whole"][name], weight, rtol=1e-4, atol=1e-5)


class TestCausalLmLoss:
    def test_is_the_mean_over_the_labels_that_count(self, new_model):
        """The logits of a place are held against the label of the next one."""
        model = new_model().eval()
        token_ids = torch.randint(0, 32, (3, 7))
        labels = token_ids.masked_fill(torch.rand(3, 7) < 0.4, -100)
        labels[0, 1] = token_ids[0, 1]
        logits = model(token_ids, use_cache=False).logits
        expected = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        torch.testing.assert_close(causal_lm_loss(model, Batch(token_ids=token_ids, labels=labels)), expected)

    def test_without_labels_it_is_zero(self, new_model):
        """A batch of prompts alone teaches nothing and breaks nothing."""
        token_ids = torch.randint(0, 32, (1, 4))
        batch = Batch(token_ids=token_ids, labels=torch.full_like(token_ids, -100))
        assert causal_lm_loss(new_model(), batch).item() == 0.0


class TestLearningRate:
    def test_each_schedule_ends_where_it_should(self):
        """Both reach the peak after warm-up; `stable-decay` is still there when the cosine has fallen."""
        cosine, stable = changed(), changed(schedule="stable-decay", decay_fraction=0.25)
        assert learning_rate(cosine, 2) == learning_rate(stable, 2) == 1e-2
        assert learning_rate(cosine, 8) < learning_rate(stable, 8) == 1e-2
        assert learning_rate(stable, 11) == pytest.approx(1e-2 / 3)

    def test_half_life_halves(self):
        """At the peak until the last quarter, then half every ``half_life_count`` steps."""
        settings = changed(schedule="half-life", decay_fraction=0.25, half_life_count=2.0)
        assert learning_rate(settings, 9) == 1e-2
        assert learning_rate(settings, 11) == pytest.approx(0.5e-2)
