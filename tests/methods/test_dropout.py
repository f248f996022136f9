"""Dropout that is put on and taken off."""

from __future__ import annotations

import torch

from harness.methods.dropout import DropoutSettings, attach_dropout
from tests.methods.gated import CASES, make_tiny, tokens


class TestAttachDropout:
    def test_only_in_training_and_only_while_it_is_on(self, tmp_path):
        """Evaluation is the model's own; training is random; afterwards nothing is left."""
        for case in CASES:
            tiny = make_tiny(case, tmp_path / case)
            before = tiny.logits(tokens())
            put = attach_dropout(tiny.model, tiny.anatomy, DropoutSettings(attention=0.2, hidden=0.2))
            assert torch.equal(tiny.logits(tokens()), before), case
            tiny.model.train()
            torch.manual_seed(0)
            first, second = tiny.logits(tokens()), tiny.logits(tokens())
            assert not torch.equal(first, second), case
            put.remove()
            torch.testing.assert_close(tiny.logits(tokens()), before, msg=case)

    def test_all_of_it_is_the_embedding_alone(self, tmp_path):
        """With everything dropped no layer adds anything."""
        tiny = make_tiny("llama", tmp_path / "model")
        attach_dropout(tiny.model, tiny.anatomy, DropoutSettings(hidden=1.0))
        tiny.model.train()
        inner = tiny.model.model
        expected = inner.norm(inner.embed_tokens(tokens()))
        torch.testing.assert_close(inner(input_ids=tokens(), use_cache=False).last_hidden_state, expected)
