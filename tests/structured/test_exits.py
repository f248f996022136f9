"""A structured model whose exits vote: the shelf's vote over the shelf's exits, for whoever loads it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional

from harness.errors import UsageError
from harness.methods.layer_tuning import ExitModel
from harness.methods.voting import vote
from harness.structured.loading import load
from harness.surgery import anatomy as anatomies
from harness.surgery.plan import plan_of
from harness.surgery.shape import config_with_exits, reduced_config
from tests.structured.test_stranger import assert_a_stranger_agrees

EXITS = (0, 2)


@pytest.fixture
def voting(dense, tmp_path):
    """Each stock model with exits, in memory, and where it lies."""

    def write(exits=EXITS, how="max"):
        record = copy.deepcopy(dense.record) | {"exits": list(exits), "vote": how}
        folder = dense.write(tmp_path / how, record=record)
        return load(folder), folder

    return write


class TestVotingModel:
    @pytest.mark.parametrize("how", ["max", "mean"])
    def test_equals_the_vote(self, dense, voting, token_ids, how):
        """Probabilities are those of the shelf's vote over the stock model's exits."""
        exits = ExitModel(copy.deepcopy(dense.model), EXITS)
        expected = vote(exits.exit_logits(token_ids), how)
        model, _ = voting(how=how)
        found = dense.logits(model).softmax(-1)
        assert torch.allclose(found, expected, atol=1e-5)
        assert not torch.allclose(found, dense.logits(dense.model).softmax(-1), atol=1e-3)

    def test_last_exit_alone(self, dense, voting):
        """One exit, the last: the stock model's distribution."""
        model, _ = voting(exits=(2,))
        expected = dense.logits(dense.model).log_softmax(-1)
        assert torch.allclose(dense.logits(model), expected, atol=1e-5)

    def test_adds_no_parameter(self, dense, voting):
        """Head and norm are shared."""
        model, _ = voting()
        assert model.state_dict().keys() == dense.model.state_dict().keys()

    def test_last_tokens_and_hidden_states(self, voting, token_ids):
        """``logits_to_keep`` keeps the same numbers; hidden states come only where they were asked for."""
        model, _ = voting()
        with torch.inference_mode():
            whole = model(token_ids)
            last = model(token_ids, logits_to_keep=2)
            shown = model(token_ids, output_hidden_states=True)
        assert torch.allclose(whole.logits[:, -2:], last.logits, atol=1e-5)
        assert whole.hidden_states is None
        assert len(shown.hidden_states) == 4

    def test_loss_is_that_of_the_vote(self, voting, token_ids):
        """Logits are logarithms of the voted probabilities, so the loss is their negative log-likelihood."""
        model, _ = voting()
        with torch.inference_mode():
            found = model(token_ids, labels=token_ids)
        expected = functional.nll_loss(found.logits[:, :-1].flatten(0, 1), token_ids[:, 1:].flatten())
        assert torch.allclose(found.loss, expected, atol=1e-5)

    def test_cached_equals_whole(self, voting, token_ids):
        """Token by token, with what earlier tokens left in the cache."""
        model, _ = voting()
        with torch.inference_mode():
            whole = model(token_ids, use_cache=False).logits
            first = model(token_ids[:, :-1], use_cache=True)
            last = model(token_ids[:, -1:], past_key_values=first.past_key_values).logits
        assert torch.allclose(last[:, 0], whole[:, -1], atol=1e-4)


def test_a_stranger_agrees(llama, tmp_path, token_ids):
    """Stock transformers with ``trust_remote_code`` votes alike, after a round trip too."""
    record = copy.deepcopy(llama.record) | {"exits": [1, 2], "vote": "max"}
    (tmp_path / "result").mkdir()
    assert_a_stranger_agrees(llama.write(tmp_path / "s", record=record), tmp_path / "result", token_ids)


@pytest.mark.parametrize("exits", [[1], [2, 1], [1, 1, 2], [0, 3], [-1, 2]])
def test_refused(llama, exits):
    """Exits ascend to the last layer, or there are none."""
    with pytest.raises(UsageError, match="exits"):
        config_with_exits(llama.config, exits)


class TestConfigWithExits:
    def test_there_and_back(self, llama):
        """A stock model becomes a structured one, and without exits stock again."""
        after = config_with_exits(llama.config, EXITS, "mean")
        assert after["structure"]["exits"] == list(EXITS)
        assert after["structure"]["vote"] == "mean"
        back = config_with_exits(after, ())
        assert "structure" not in back
        assert back["model_type"] == "llama"

    @pytest.mark.parametrize(("kept", "exits"), [([0, 2], [0, 1]), ([0, 1], [0, 1]), ([1, 2], None)])
    def test_survive_the_loss_of_layers(self, llama, kept, exits):
        """Exits keep their layers under new numbers; the last layer left is one, and alone it needs no vote."""
        before = config_with_exits(llama.config, EXITS)
        plan = plan_of(anatomies.load(before), {"layer": [kept]})
        assert reduced_config(before, plan).get("structure", {}).get("exits") == exits
