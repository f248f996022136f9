"""What steps make of a configuration: exits where the tuning had them, and nothing to vote about refused."""

from __future__ import annotations

import pytest
from harness_edge_llm.options import VoteStep
from harness_edge_llm.planning import voting_config

from harness.checkpoint.checkpoint import read_config
from harness.errors import UsageError
from harness.surgery.count import parameter_count
from harness.testing import write_tiny_checkpoint


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return read_config(write_tiny_checkpoint("llama", tmp_path_factory.mktemp("llama") / "model"))


class TestVotingConfig:
    def test_exits_where_windows_end(self, config):
        """After every window of the stride, the last layer among them; no parameter more."""
        after = voting_config(config, VoteStep(stride=1, how="mean"))
        assert after["structure"]["exits"] == list(range(config["num_hidden_layers"]))
        assert after["structure"]["vote"] == "mean"
        assert parameter_count(after) == parameter_count(config)

    @pytest.mark.parametrize("fields", [{"stride": 8}, {"stride": 1, "first": 1}])
    def test_nobody_to_vote_with(self, config, fields):
        """The last exit alone is no vote; the message says which strides are."""
        with pytest.raises(UsageError, match="no exit beside the last"):
            voting_config(config, VoteStep(**fields))
