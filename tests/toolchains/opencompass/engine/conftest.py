"""Tiny models, prompts with a common beginning, and an answering loop over them."""

from __future__ import annotations

import random

import pytest
import torch
from transformers import AutoModelForCausalLM

from harness.testing.tiny import ARCHITECTURES, tiny_config
from harness.toolchains.opencompass.worker.engine.answering import Answering, Wanted
from harness.toolchains.opencompass.worker.engine.batches import Limits
from harness.toolchains.opencompass.worker.engine.journal import Journal
from harness.toolchains.opencompass.worker.engine.stopping import Reader, Stops

VOCABULARY = 261


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def _make_model(architecture, **changes):
    config = tiny_config(architecture)
    config.initializer_range = 0.3
    for name, value in changes.items():
        setattr(config, name, value)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(config).eval()
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.data += torch.randn_like(parameter) * 0.2
    model.generation_config.update(do_sample=False, eos_token_id=None, pad_token_id=0)
    return model


@pytest.fixture(params=ARCHITECTURES)
def model(request):
    return _make_model(request.param)


@pytest.fixture
def llama():
    return _make_model("llama")


@pytest.fixture
def prompts():
    """Twelve that share 70 tokens, of uneven length; two of them are the same."""
    generator = random.Random(0)
    shared = [generator.randrange(5, VOCABULARY) for _ in range(70)]
    ends = [[generator.randrange(5, VOCABULARY) for _ in range(generator.randint(1, 30))] for _ in range(11)]
    return [tuple(shared + end) for end in [*ends, ends[0]]]


def _wanted(max_new_tokens=12, eos=(), penalty=1.0, decode=None, **stops):
    """What an answer may look like; without a decoder of text none is looked at."""
    stopping = Stops(eos_token_ids=frozenset(eos), **stops)
    reader = Reader(stopping, decode or (lambda _ids: ""), cleans_spaces=False)
    return Wanted(max_new_tokens=max_new_tokens, stops=stopping, reader=reader, repetition_penalty=penalty)


def _answering(decoder, rows=4, journal=None):
    return Answering(decoder, Limits(rows=rows, tokens=100_000), journal or Journal(None, "none", {}))


def _generated(model, prompt, count, **settings):
    """The new tokens that transformers' ``generate`` gives for one prompt alone."""
    token_ids = torch.tensor([prompt])
    whole = model.generate(token_ids, attention_mask=torch.ones_like(token_ids), max_new_tokens=count, **settings)
    return tuple(whole[0, len(prompt) :].tolist())


@pytest.fixture
def make_model():
    """A tiny model of an architecture, with changed settings."""
    return _make_model


@pytest.fixture
def wanted():
    return _wanted


@pytest.fixture
def answering():
    return _answering


@pytest.fixture
def generated():
    return _generated
