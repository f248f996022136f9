"""The steps on tiny models: they learn, they survive a kill, and the teacher is asked once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from harness_tinytron import compress, learning, train

from harness.checkpoint.checkpoint import Checkpoint
from harness.checkpoint.shards import read_layout
from harness.errors import UsageError
from harness.testing.tiny import write_tiny_checkpoint

TAUGHT = {"optimizer_steps": 6, "batch_windows": 2, "window_tokens": 32, "compute": "float32", "top_k": 8}
MASKS = {"method": "mask_prune", "round_to": 8, **TAUGHT}
FADING = {"method": "soft_prune", "round_to": 8, "score_batches": 2, "score_batch_windows": 2, **TAUGHT}
DISTIL = {"method": "distil", **TAUGHT}


def carry_out(request):
    return (compress if request.step.stage == "compress" else train)(request)


class Killed(BaseException):
    pass


class TestResume:
    @pytest.mark.parametrize("step", [MASKS, FADING, DISTIL], ids=lambda step: step["method"])
    @pytest.mark.parametrize("at", [("teacher", 12), ("training", 1), ("training", 4), ("training", 6)], ids=str)
    def test_killed_inside_and_asked_again(self, tiny_checkpoints, tmp_path, ask, monkeypatch, step, at):
        """Killed while the teacher is asked or in the middle of learning, the step ends in the same digest."""
        monkeypatch.setattr(learning, "STATE_EVERY_S", 0.0)
        base = write_tiny_checkpoint("qwen2", tmp_path / "teacher", seed=1)
        student = tiny_checkpoints["qwen2"]
        whole = carry_out(ask(student, step, tmp_path / "whole", base=base)).checkpoint

        def die(label, done, total, detail=""):
            if (label, done) == at:
                raise Killed

        with pytest.raises(Killed):
            carry_out(ask(student, step, tmp_path / "work", base=base, progress=die))
        seen = []
        resumed = ask(student, step, tmp_path / "work", base=base, progress=lambda *call: seen.append(call[:2]))
        again = carry_out(resumed).checkpoint
        assert Checkpoint.of(again).digest == Checkpoint.of(whole).digest
        assert ("training", at[1] - 1) not in seen or at[0] == "teacher"


class TestDistil:
    @pytest.mark.parametrize("fields", [{}, {"top_k": None}, {"ce": 0.2, "temperature": 2.0}], ids=str)
    def test_comes_closer_to_the_teacher(self, tiny_checkpoint, tmp_path, ask, fields):
        """Same names and shapes, smaller loss, whether the teacher is remembered or asked anew."""
        architecture = Checkpoint.of(tiny_checkpoint).config()["model_type"]
        base = write_tiny_checkpoint(architecture, tmp_path / "teacher", seed=1)
        step = {**DISTIL, "optimizer_steps": 30, "learning_rate": 5e-3, **fields}
        result = train(ask(tiny_checkpoint, step, tmp_path / "work", base=base))
        before, after = read_layout(tiny_checkpoint), read_layout(result.checkpoint)
        assert {(t.name, t.shape) for t in before.tensors} == {(t.name, t.shape) for t in after.tensors}
        assert result.notes["loss_last"] < result.notes["loss_first"]

    def test_the_control_learns_from_the_text(self, tiny_checkpoints, tmp_path, ask):
        """The base has nothing to learn from itself: no teacher is asked, and the text's loss falls."""
        step = {**DISTIL, "optimizer_steps": 20, "learning_rate": 5e-3, "teacher": "nowhere"}
        result = train(replace(ask(tiny_checkpoints["qwen2"], step, tmp_path / "work"), is_control=True))
        assert result.notes["loss_last"] < result.notes["loss_first"]
        assert not (tmp_path / "work" / "teacher").exists()

    @pytest.mark.parametrize("step", [FADING, DISTIL], ids=lambda step: step["method"])
    def test_without_divergence_nobody_is_asked(self, tiny_checkpoints, tmp_path, ask, step):
        """Cross-entropy alone needs no teacher, not even one that is there."""
        carry_out(
            ask(tiny_checkpoints["llama"], {**step, "kl": 0.0, "ce": 1.0, "teacher": "nowhere"}, tmp_path / "work")
        )
        assert not (tmp_path / "work" / "teacher").exists()

    def test_embeddings_alone(self, tiny_checkpoint, tmp_path, ask):
        """The first stage after a change of vocabulary leaves every layer as it was."""
        from harness.checkpoint.reader import open_checkpoint

        architecture = Checkpoint.of(tiny_checkpoint).config()["model_type"]
        base = write_tiny_checkpoint(architecture, tmp_path / "teacher", seed=1)
        step = {**DISTIL, "trained": "embeddings", "learning_rate": 1e-2}
        result = train(ask(tiny_checkpoint, step, tmp_path / "work", base=base))
        with open_checkpoint(tiny_checkpoint) as old, open_checkpoint(result.checkpoint) as new:
            changed = {e.name for e in old.layout.tensors if (old.read(e.name) != new.read(e.name)).any()}
        assert changed
        assert not any(".layers." in name for name in changed)

    def test_another_vocabulary_is_told(self, tiny_checkpoints, tmp_path, ask):
        """The message has both sizes and the way out."""
        request = ask(tiny_checkpoints["llama"], DISTIL, tmp_path / "w")
        config = tmp_path / "other" / "config.json"
        write_tiny_checkpoint("llama", tmp_path / "other")
        config.write_text(config.read_text().replace('"vocab_size": 261', '"vocab_size": 999'))
        other = ask(tiny_checkpoints["llama"], {**DISTIL, "teacher": str(tmp_path / "other")}, tmp_path / "w")
        assert request.step.teacher == "base"
        with pytest.raises(UsageError, match=r"999 tokens and the student 261.*swap_vocabulary"):
            train(other)


class TestTieEmbeddings:
    def test_the_head_is_the_embedding(self, tiny_checkpoint, tmp_path, ask):
        """One tensor fewer where there was a head of its own, and the checkpoint loads."""
        from harness.methods import models

        result = compress(ask(tiny_checkpoint, {"method": "tie_embeddings"}, tmp_path / "work"))
        model = models.load(result.checkpoint)
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
        assert "lm_head.weight" not in {tensor.name for tensor in read_layout(result.checkpoint).tensors}
