"""The exported graph, run by torch: it computes what the model computes, whatever was cut."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.checkpoint.checkpoint import read_config, read_described_config
from harness.checkpoint.reader import open_checkpoint
from harness.deployment.executorch.export import build_step
from harness.deployment.executorch.options import ExecutorchOptions
from harness.deployment.executorch.parts import ACTIVATIONS, activation_of
from harness.deployment.executorch.step import give, source_of
from harness.errors import UsageError
from harness.methods.models import load as load_model
from harness.surgery.anatomy import load
from harness.surgery.apply import apply
from tests.surgery.conftest import CASES, write_checkpoint
from tests.surgery.plans import by_svd, plans

TOKENS = 24
QUIET = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


def filled_step(checkpoint, context_tokens=TOKENS):
    """The step of ``checkpoint`` in FP32 with its weights."""
    anatomy = load(read_described_config(checkpoint))
    step = build_step(checkpoint, anatomy, ExecutorchOptions(dtype="float32", context_tokens=context_tokens))
    with open_checkpoint(checkpoint) as reader:
        give(step, lambda name, shape: torch.from_numpy(reader.read(source_of(name, anatomy))).reshape(shape))
    return step


@torch.no_grad()
def stepped(step, token_ids, lengths):
    """Logits after each of ``lengths`` tokens, read one chunk after the other."""
    rows, start = [], 0
    for length in lengths:
        chunk = token_ids[:, start : start + length]
        rows.append(step(chunk, torch.tensor([start])))
        start += length
    return torch.cat(rows)


@torch.no_grad()
def expected_logits(checkpoint, token_ids):
    return load_model(checkpoint)(input_ids=token_ids).logits[0]


@pytest.fixture(scope="module", params=CASES)
def tiny(request, tmp_path_factory):
    return write_checkpoint(request.param, tmp_path_factory.mktemp(request.param))


class TestStep:
    @QUIET
    @given(data=st.data())
    def test_any_plan_in_any_chunks(self, tiny, tmp_path, data):
        """For any mixture of cuts and any division into calls, logits are the model's own."""
        plan = data.draw(plans(load(read_config(tiny))))
        cut = apply(tiny, plan, tmp_path / "cut", factorise=by_svd)
        lengths = data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=3))
        vocabulary = load(read_described_config(cut)).sizes["vocab"]
        token_ids = torch.arange(sum(lengths))[None] * 7 % vocabulary
        found = stepped(filled_step(cut), token_ids, lengths)
        ends = torch.tensor(lengths).cumsum(0) - 1
        torch.testing.assert_close(found, expected_logits(cut, token_ids)[ends], atol=3e-5, rtol=3e-5)

    def test_a_second_prompt_forgets_the_first(self, tiny):
        """What an earlier and longer prompt left in the cache has no weight."""
        step, long, short = filled_step(tiny), torch.arange(20)[None], torch.arange(40, 45)[None]
        stepped(step, long, [20])
        found = stepped(step, short, [5])
        torch.testing.assert_close(found[0], expected_logits(tiny, short)[-1], atol=3e-5, rtol=3e-5)


class TestActivations:
    @pytest.mark.parametrize("name", sorted(ACTIVATIONS))
    def test_is_the_model_s(self, name):
        """Each is transformers' function of that name, also far from zero."""
        from transformers.activations import ACT2FN

        units = torch.linspace(-30, 30, 2001)
        torch.testing.assert_close(ACTIVATIONS[name](units), ACT2FN[name](units), atol=1e-5, rtol=1e-5)

    def test_another_is_refused(self, tiny):
        """An activation that has no form for the runtime is named, with those that have."""
        anatomy = load({**read_config(tiny), "hidden_act": "quick_gelu"})
        with pytest.raises(UsageError, match=r"hidden_act must be one of silu, .* found 'quick_gelu'"):
            activation_of(anatomy)


class TestContext:
    def test_a_window_of_attention_is_a_limit(self, tmp_path):
        """Within its window a model with one attends as all do; beyond it is refused."""
        import json

        folder = write_checkpoint("mistral", tmp_path / "mistral")
        (folder / "config.json").write_text(json.dumps({**read_config(folder), "sliding_window": 16}))
        assert filled_step(folder, 16).cos.shape == (16, 16)
        with pytest.raises(UsageError, match="at most 16, the model's sliding_window, found 17"):
            filled_step(folder, 17)
