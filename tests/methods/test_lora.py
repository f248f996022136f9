from __future__ import annotations

import pytest
import torch
from peft.tuners.lora import LoraLayer

from harness.methods import models
from harness.methods.lora import LoraSettings, attach, merge
from harness.methods.training import TrainingSettings, train

SETTINGS = TrainingSettings(optimizer_steps=3, batch_windows=4, learning_rate=1e-2, checkpoint_every_steps=1)


@pytest.fixture
def token_ids():
    return torch.randint(0, 200, (2, 9), generator=torch.Generator().manual_seed(0))


def logits(model, token_ids):
    with torch.no_grad():
        return model.eval()(input_ids=token_ids, use_cache=False).logits


def shaken(model):
    """Give the adapters' B, which begins as zero, values."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05, generator=torch.Generator().manual_seed(1))
    return model


class TestAttach:
    def test_at_first_nothing_changes(self, tiny_checkpoint, token_ids):
        """With B zero the adapted model is the model, to the bit."""
        before = logits(models.load(tiny_checkpoint), token_ids)
        assert torch.equal(logits(attach(models.load(tiny_checkpoint), LoraSettings()), token_ids), before)

    def test_adapters_alone_are_trainable(self, tiny_checkpoint):
        """Every linear but the head has an adapter of the asked rank, and nothing else learns."""
        model = attach(models.load(tiny_checkpoint), LoraSettings(rank=3))
        trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert all("lora_" in name and "lm_head" not in name for name in trained)
        assert {parameter.dtype for parameter in trained.values()} == {torch.float32}
        assert {min(parameter.shape) for parameter in trained.values()} == {3}
        linears = [name for name, module in model.named_modules() if isinstance(module, LoraLayer)]
        assert len(trained) == 2 * len(linears)

    def test_targets_can_be_named(self, tiny_checkpoint):
        """Only the named linears get an adapter; a name that fits none is an error."""
        model = attach(models.load(tiny_checkpoint), LoraSettings(targets=("q_proj",)))
        assert {name.split(".")[-4] for name, _ in model.named_parameters() if "lora_" in name} == {"q_proj"}
        with pytest.raises(ValueError, match="no_such"):
            attach(models.load(tiny_checkpoint), LoraSettings(targets=("no_such",)))

    def test_the_seed_decides_the_adapters(self, tiny_checkpoint):
        """The same seed gives the same A, and the caller's random state is left alone."""
        before = torch.random.get_rng_state()
        states = [attach(models.load(tiny_checkpoint), LoraSettings(), seed=seed).state_dict() for seed in (0, 0, 1)]
        name = next(name for name in states[0] if "lora_A" in name)
        assert torch.equal(states[0][name], states[1][name])
        assert not torch.equal(states[0][name], states[2][name])
        assert torch.equal(torch.random.get_rng_state(), before)


class TestMerge:
    def test_computes_what_the_adapted_model_computes(self, tiny_checkpoint, token_ids):
        """Merged equals unmerged."""
        adapted = shaken(attach(models.load(tiny_checkpoint), LoraSettings()))
        expected = logits(adapted, token_ids)
        assert not torch.allclose(expected, logits(models.load(tiny_checkpoint), token_ids), atol=1e-3)
        torch.testing.assert_close(logits(merge(adapted), token_ids), expected, rtol=1e-4, atol=1e-4)

    def test_gives_back_stock_modules(self, tiny_checkpoint):
        """Class, names and number of parameters are those of the model before."""
        plain = models.load(tiny_checkpoint)
        merged = merge(shaken(attach(models.load(tiny_checkpoint), LoraSettings())))
        assert type(merged) is type(plain)
        assert [(n, p.shape) for n, p in merged.named_parameters()] == [
            (n, p.shape) for n, p in plain.named_parameters()
        ]
        assert all(parameter.requires_grad for parameter in merged.parameters())

    def test_training_then_merging_is_the_same_after_a_stop(self, tiny_checkpoints, tmp_path, windows):
        """A recovery that was interrupted writes the same checkpoint, to the byte."""
        from harness.checkpoint.checkpoint import Checkpoint

        def recover(name, stop_at=None):
            def progress(label, done, total, detail=""):
                if done == stop_at:
                    raise InterruptedError

            model = attach(models.load(tiny_checkpoints["qwen2"]), LoraSettings(dropout=0.1))
            train(model, windows, SETTINGS, state=tmp_path / name / "state", progress=progress)
            like = tiny_checkpoints["qwen2"]
            return Checkpoint.of(models.save(merge(model), tmp_path / name / "checkpoint", like=like)).digest

        with pytest.raises(InterruptedError):
            recover("stopped", stop_at=2)
        assert recover("stopped") == recover("whole")
