"""Track scratch: an nGPT from a tokenizer, a recipe and a seed, trained on the sphere."""

from __future__ import annotations

import json
import math

import pytest
import torch
from harness_nics import scratch
from harness_nics.scratch_options import InitialiseStep, PretrainStep, SftStep
from transformers import AutoTokenizer

from harness import ForecastRequest, InitialiseRequest, Options, TrainRequest
from harness.checkpoint.checkpoint import Checkpoint
from harness.errors import UsageError
from harness.methods import models
from harness.progress import silent
from harness.submission.describe import checkpoint_parameters
from harness.testing.door import embedded_door

SHAPE = InitialiseStep(hidden=32, layers=2, heads=4, intermediate=48, context_tokens=512)
QUICK = {"optimizer_steps": 3, "batch_windows": 2, "window_tokens": 32, "learning_rate": 1e-2}


class Killed(Exception):
    pass


@pytest.fixture
def initialise(tmp_path, tiny_checkpoints):
    """Write an untrained model for the tiny tokenizer."""

    def write(step=SHAPE, *, seed=0, name="initial", tokenizer=None):
        request = InitialiseRequest(
            tokenizer=tokenizer or tiny_checkpoints["llama"],
            options=Options(),
            step=step,
            workdir=tmp_path / name,
            device="cpu",
            seed=seed,
            progress=silent,
        )
        request.workdir.mkdir(exist_ok=True)
        return scratch.initialise(request).checkpoint

    return write


@pytest.fixture
def train(tmp_path):
    """Train the checkpoint in a folder."""

    def learn(path, step, *, name="trained", progress=silent):
        student = Checkpoint.of(path)
        (tmp_path / name).mkdir(exist_ok=True)
        return scratch.train(
            TrainRequest(
                base=student,
                student=student,
                options=Options(),
                step=step,
                parameter_budget=10**6,
                data=embedded_door(),
                workdir=tmp_path / name,
                device="cpu",
                seed=0,
                progress=progress,
            )
        )

    return learn


def forecast(step, config):
    return scratch.forecast(ForecastRequest(config=config, options=Options(), step=step, parameter_budget=0))


class TestInitialise:
    def test_forecast_comes_true(self, initialise):
        """The configuration that was predicted from the tokenizer's length is the one that is written."""
        made = initialise()
        special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
        predicted = forecast(SHAPE, {"vocab_size": 261, **special})
        assert predicted.parameter_count == checkpoint_parameters(made)
        config = Checkpoint.of(made).config()
        assert {name: config[name] for name in predicted.config if name != "rope_parameters"} == {
            name: value for name, value in predicted.config.items() if name != "rope_parameters"
        }

    def test_shape_of_c4ngpt(self):
        """The guessed shape of C4NGPT has the published 0.8 B parameters, before there is a tokenizer."""
        step = InitialiseStep(hidden=1024, layers=32, heads=16, vocabulary=128256)
        assert round(forecast(step, {}).parameter_count / 1e9, 2) == 0.80
        assert forecast(SHAPE, {}) is None

    def test_same_seed_same_bytes(self, initialise):
        """An initialisation is its recipe, its tokenizer and its seed."""
        first, second, other = (initialise(seed=seed, name=str(number)) for number, seed in enumerate((3, 3, 4)))
        assert Checkpoint.of(first).digest == Checkpoint.of(second).digest != Checkpoint.of(other).digest

    def test_the_recipes_vocabulary_is_held_to(self, initialise):
        """A tokenizer of another length is another model."""
        step = SHAPE.model_copy(update={"vocabulary": 300})
        with pytest.raises(UsageError, match="300 in the recipe, the tokenizer has 261"):
            initialise(step)
        with pytest.raises(UsageError, match="300 in the recipe"):
            forecast(step, {"vocab_size": 261})

    def test_llama_3_template(self, initialise, tiny_checkpoints, tmp_path):
        """It is written where the tokenizer has its special tokens, and refused where not."""
        step = SHAPE.model_copy(update={"chat_template": "llama-3"})
        with pytest.raises(UsageError, match=r"needs <\|start_header_id\|>"):
            initialise(step)
        tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoints["llama"])
        tokenizer.add_special_tokens({"additional_special_tokens": list(scratch.LLAMA_3_TOKENS)})
        tokenizer.save_pretrained(tmp_path / "tokenizer")
        made = AutoTokenizer.from_pretrained(initialise(step, tokenizer=tmp_path / "tokenizer"))
        turns = [{"role": "user", "content": " Hi "}]
        assert made.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) == (
            "<|bos|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n"
        )


class TestTrain:
    def test_from_nothing_to_answers(self, initialise, train):
        """Pretraining and SFT follow each other; each leaves a checkpoint of the same shape with other weights."""
        pretrained = train(initialise(), PretrainStep(**QUICK), name="pretrain")
        tuned = train(pretrained.checkpoint, SftStep(**QUICK), name="sft")
        assert pretrained.notes["filters"]["seen"] > 0
        assert pretrained.notes["token_count"] == 3 * 2 * 32
        model = models.load(tuned.checkpoint)
        with torch.inference_mode():
            hidden = model.model(input_ids=torch.tensor([[1, 10, 20, 30]])).last_hidden_state
        assert torch.allclose(hidden.norm(dim=-1), torch.ones(1, 4), atol=1e-5)
        assert Checkpoint.of(tuned.checkpoint).digest != Checkpoint.of(pretrained.checkpoint).digest
        assert json.loads((tuned.checkpoint / "structure.json").read_text())["block"]["norm"] == "sphere"

    def test_learns(self, initialise, train):
        """The loss falls below that of guessing."""
        step = PretrainStep(**QUICK | {"optimizer_steps": 40, "batch_windows": 8, "learning_rate": 3e-2})
        notes = train(initialise(), step).notes
        assert notes["loss_last"] < 0.8 * math.log(261)

    def test_killed_and_gone_on(self, initialise, train):
        """What a killed try left is gone on from, to the same bytes."""

        def kill(label, done, total, detail=""):
            if label == "training" and done == 2:
                raise Killed

        base, step = initialise(), PretrainStep(**QUICK)
        with pytest.raises(Killed):
            train(base, step, name="cut", progress=kill)
        cut = train(base, step, name="cut")
        whole = train(base, step, name="whole")
        assert cut.notes == whole.notes
        assert Checkpoint.of(cut.checkpoint).digest == Checkpoint.of(whole.checkpoint).digest

    def test_refuses_another_model(self, tiny_checkpoints, train):
        """Only an nGPT lies on a sphere."""
        with pytest.raises(UsageError, match="trains an nGPT"):
            train(tiny_checkpoints["llama"], SftStep(**QUICK))
