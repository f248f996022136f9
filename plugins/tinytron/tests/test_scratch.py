"""Track scratch: MiniCPM's scalings in a stock class, their rates, and a training that learns and survives a kill."""

from __future__ import annotations

import math

import pytest
import torch
from harness_tinytron import forecast, initialise, learning, scratch, train
from harness_tinytron.options import TinytronOptions
from torch import nn

from harness import ForecastRequest, InitialiseRequest, TrainRequest
from harness.checkpoint.checkpoint import Checkpoint
from harness.errors import UsageError
from harness.methods import models
from harness.progress import silent
from harness.submission.describe import checkpoint_parameters
from harness.testing.door import embedded_door

START = {
    "method": "initialise", "hidden": 32, "layers": 2, "heads": 4, "kv_heads": 2, "intermediate": 48, "base_hidden": 16,
}  # fmt: skip
QUICK = {"optimizer_steps": 6, "batch_windows": 2, "window_tokens": 32, "compute": "float32"}
DECAY = [{"until": 0.5, "mixture": {"c4": 1}}, {"until": 1, "mixture": {"alpaca": 1}}]
PRETRAIN = {"method": "pretrain", "batch_doublings": [128], "curriculum": DECAY, **QUICK}


class Killed(BaseException):
    pass


def options_of(*steps):
    return TinytronOptions.model_validate({"steps": [START, *steps]})


@pytest.fixture
def start(tmp_path, tiny_checkpoints):
    """Write the untrained model for the tiny tokenizer."""

    def write(name="initial", *, seed=0, **fields):
        options = TinytronOptions.model_validate({"steps": [{**START, **fields}]})
        (tmp_path / name).mkdir(exist_ok=True)
        request = InitialiseRequest(
            tokenizer=tiny_checkpoints["llama"],
            options=options,
            step=options.steps[0],
            workdir=tmp_path / name,
            device="cpu",
            seed=seed,
            progress=silent,
        )
        return initialise(request).checkpoint

    return write


@pytest.fixture
def learn(tmp_path):
    """Carry out one step on the checkpoint in a folder."""

    def carry_out(path, step, name="work", *, progress=silent):
        options = options_of(step)
        (tmp_path / name).mkdir(exist_ok=True)
        request = TrainRequest(
            base=Checkpoint.of(path),
            student=Checkpoint.of(path),
            options=options,
            step=options.steps[1],
            parameter_budget=10**6,
            data=embedded_door(),
            workdir=tmp_path / name,
            device="cpu",
            seed=0,
            progress=progress,
        )
        return train(request)

    return carry_out


def mini_cpm_logits(model, step, token_ids):
    """MiniCPM's function, written out with its own scalings, on the weights before they were folded."""
    c, narrow = scratch.branch_scale(step), step.base_hidden / step.hidden
    inner, depth = model.model, step.depth_scale / math.sqrt(step.layers)
    hidden = step.embedding_scale * inner.embed_tokens(token_ids)
    places = torch.arange(token_ids.shape[1])[None]
    rotation = inner.rotary_emb(hidden, places)
    for norms in (module for module in inner.modules() if hasattr(module, "variance_epsilon")):
        norms.variance_epsilon = scratch.EPSILON
    for layer in inner.layers:
        attended, _ = layer.self_attn(layer.input_layernorm(hidden), position_embeddings=rotation, attention_mask=None)
        hidden = hidden + depth * attended / c
        hidden = hidden + depth * layer.mlp(layer.post_attention_layernorm(hidden)) / c
    unit = inner.norm(hidden) / narrow
    return nn.functional.linear(unit, inner.embed_tokens.weight) * narrow


class TestInitialise:
    def test_forecast_comes_true(self, start):
        """Tied, with three biases in use, as many parameters as predicted from the tokenizer's length."""
        path = start()
        options = options_of()
        asked = ForecastRequest(config={"vocab_size": 261}, options=options, step=options.steps[0], parameter_budget=0)
        assert forecast(asked).parameter_count == checkpoint_parameters(path)
        config = Checkpoint.of(path).config()
        assert config["model_type"] == "qwen3"
        assert config["tie_word_embeddings"] is config["attention_bias"] is True

    def test_computes_mini_cpm(self, start):
        """The folded model has the logits of MiniCPM's function, to rounding and the norms' epsilon."""
        model = models.load(start())
        step = options_of().steps[0]
        token_ids = torch.randint(5, 200, (1, 12), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            found = model(input_ids=token_ids).logits
            expected = mini_cpm_logits(model, step, token_ids)
        assert found.abs().max() > 0.1
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)

    def test_a_step_of_adam_is_mini_cpms(self, start):
        """Where gradients are not clipped, a folded weight moves as its factor says: by the factor times the rate."""
        model, step = models.load(start()), options_of().steps[0]
        factors = dict(scratch.rate_factors(model, [step]))
        c, narrow = scratch.branch_scale(step), step.base_hidden / step.hidden
        assert factors["model.layers.1.mlp.down_proj.weight"] == pytest.approx(narrow * c)
        assert factors["model.layers.0.self_attn.q_proj.weight"] == narrow
        assert factors["model.norm.weight"] == narrow
        assert not any("embed" in name or "bias" in name for name in factors)

    def test_same_seed_same_bytes(self, start):
        """An initialisation is its recipe, its tokenizer and its seed."""
        digests = [Checkpoint.of(start(str(n), seed=seed)).digest for n, seed in enumerate((3, 3, 4))]
        assert digests[0] == digests[1] != digests[2]

    def test_what_does_not_fit_is_told(self, start):
        """Another vocabulary than the recipe's, query heads that are no multiple."""
        with pytest.raises(UsageError, match="300 in the recipe, the tokenizer has 261"):
            start(vocabulary=300)
        with pytest.raises(UsageError, match="multiple of kv_heads, found 4 and 3"):
            start(kv_heads=3)

    def test_the_guessed_shape(self):
        """The recipe of Cauchy-3B plans 3.1 B parameters without a tokenizer."""
        import tomllib
        from importlib import resources

        text = (resources.files("harness_tinytron") / "recipes" / "scratch.toml").read_text()
        options = TinytronOptions.model_validate({"steps": tomllib.loads(text)["step"]})
        asked = ForecastRequest(config={}, options=options, step=options.steps[0], parameter_budget=0)
        assert forecast(asked).parameter_count == pytest.approx(3_110_275_328, rel=0.01)


class TestTraining:
    def test_from_nothing_to_answers(self, start, learn):
        """The loss falls; what the class has beside the architecture stays at 0; SFT follows."""
        step = {**PRETRAIN, "optimizer_steps": 40, "batch_windows": 4, "batch_doublings": [], "curriculum": DECAY}
        made = learn(start(), step, "pretrain")
        assert made.notes["loss_last"] < 0.8 * math.log(261)
        model = models.load(made.checkpoint)
        assert not model.model.layers[0].self_attn.o_proj.bias.any()
        assert model.model.layers[0].self_attn.q_proj.bias.any()
        tuned = learn(made.checkpoint, {"method": "sft", **QUICK}, "sft")
        assert Checkpoint.of(tuned.checkpoint).digest != Checkpoint.of(made.checkpoint).digest

    @pytest.mark.parametrize("at", [1, 4, 6])
    def test_killed_and_gone_on(self, start, learn, monkeypatch, at):
        """Dropout, doubled batches and a curriculum do not keep a killed training from the same digest."""
        monkeypatch.setattr(learning, "STATE_EVERY_S", 0.0)
        base = start()
        whole = learn(base, PRETRAIN, "whole")
        assert whole.notes["token_count"] == (2 + 2 + 4 + 4 + 4 + 4) * 32

        def die(label, done, total, detail=""):
            if (label, done) == ("training", at):
                raise Killed

        with pytest.raises(Killed):
            learn(base, PRETRAIN, progress=die)
        assert Checkpoint.of(learn(base, PRETRAIN).checkpoint).digest == Checkpoint.of(whole.checkpoint).digest
