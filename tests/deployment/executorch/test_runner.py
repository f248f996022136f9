"""A loaded package: prompts, steps and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from harness.deployment.executorch.runner import open_runner
from harness.errors import CheckpointCorrupt, EngineFailed
from tests.deployment.executorch.conftest import CHUNK, CONTEXT_TOKENS


@pytest.fixture(scope="module")
def runner(package_of):
    return open_runner(package_of("llama", dtype="float32"), 1)


class TestRunner:
    def test_says_what_it_is(self, runner):
        """Runtime, dtype, context and vocabulary are the package's."""
        assert runner.name.startswith("executorch 1.5")
        assert (runner.dtype, runner.context_tokens, runner.vocabulary_count) == ("float32", CONTEXT_TOKENS, 261)

    @pytest.mark.parametrize("length", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
    def test_prefill_equals_steps(self, runner, length):
        """A prompt read in chunks gives the logits of the prompt read token by token."""
        prompt = [index * 11 % 261 for index in range(length)]
        chosen = runner.prefill(prompt)
        at_once = runner.last_logits()
        assert (at_once.dtype, at_once.shape, int(at_once.argmax())) == (np.float32, (261,), chosen)
        stepped = runner.prefill(prompt[:1])
        for token_id in prompt[1:]:
            stepped = runner.step(token_id)
        np.testing.assert_allclose(runner.last_logits(), at_once, atol=1e-5)
        assert stepped == chosen

    def test_logits_are_a_copy(self, runner):
        """What was handed out does not change with the next token."""
        runner.prefill([5, 6])
        first = runner.last_logits()
        before = first.copy()
        runner.step(7)
        assert (first == before).all()
        assert (runner.last_logits() != before).any()

    def test_a_full_context(self, runner):
        """The last position can be used, the one after it cannot."""
        runner.prefill([1] * (CONTEXT_TOKENS - 1))
        runner.step(1)
        with pytest.raises(ValueError, match=f"room for 0 of {CONTEXT_TOKENS} tokens, got 1"):
            runner.step(1)
        with pytest.raises(ValueError, match=f"room for {CONTEXT_TOKENS} of"):
            runner.prefill([1] * (CONTEXT_TOKENS + 1))

    @pytest.mark.parametrize("token_id", [-1, 261])
    def test_an_unknown_token(self, runner, token_id):
        """An id outside the vocabulary is refused before the runtime reads beyond the embedding."""
        with pytest.raises(ValueError, match=rf"must be in 0\.\.260, got {token_id}"):
            runner.prefill([3, token_id])

    def test_nothing_before_a_prompt(self, package_of):
        """Steps and logits need a prompt; an empty one is none."""
        fresh = open_runner(package_of("llama", dtype="float32"), 1)
        with pytest.raises(ValueError, match="call prefill first"):
            fresh.step(1)
        with pytest.raises(ValueError, match="call prefill first"):
            fresh.last_logits()
        with pytest.raises(ValueError, match="must not be empty"):
            fresh.prefill([])


class TestOpen:
    def test_no_package(self, tmp_path):
        """A folder without a manifest is no package."""
        pytest.importorskip("executorch")
        with pytest.raises(CheckpointCorrupt, match="is no manifest of a package"):
            open_runner(tmp_path, 1)

    def test_a_program_that_is_none(self, package_of, tmp_path, capfd):
        """The runtime's own words come with the error, and not on the terminal."""
        import shutil

        folder = shutil.copytree(package_of("llama"), tmp_path / "package")
        (folder / "model.pte").write_bytes(b"no program" * 100)
        with pytest.raises(EngineFailed, match=r"package package on executorch 1\.5"):
            open_runner(folder, 1)
        assert capfd.readouterr().err == ""
