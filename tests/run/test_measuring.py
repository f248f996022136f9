"""What is measured is the checkpoint as it is stored."""

from __future__ import annotations

from harness.judge import measure
from harness.run import measuring
from harness.run.measuring import Measuring, Subject
from harness.submission.measurements import Evaluation


class TestMeasure:
    def test_memory_and_speed_are_those_of_the_stored_precision(self, carried_out, observer, monkeypatch, demo):
        """An FP16 checkpoint is timed with FP16 weights, on a CPU too: its memory is what the edition limits."""

        def no_tasks(request, _surroundings):
            return tuple(
                Evaluation(
                    engine="none",
                    engine_version="0",
                    suite="demo",
                    tasks=(),
                    checkpoint_digest=model.checkpoint.digest,
                )
                for model in request.models
            )

        def shorter(path, *, rule, surroundings):
            quick = rule.model_copy(update={"prefill_tokens": 8, "decode_tokens": 2, "repeats": 2})
            return measure.measure_performance(path, rule=quick, surroundings=surroundings)

        monkeypatch.setattr(measuring, "measure_tasks", no_tasks)
        monkeypatch.setattr(measuring, "measure_performance", shorter)
        monkeypatch.setattr(measuring, "held_out_texts", lambda prepared: _texts(prepared.workspace.root))
        prepared, strategy = carried_out()
        subject = Subject(label="llama final", checkpoint=strategy.final, kind="chat", with_performance=True)
        measured = Measuring(prepared, observer).measure([subject])[strategy.final.digest]
        assert measured.performance.dtype == "float16"
        assert len(measured.performance.decode_tokens_per_s_samples) == 2
        assert measured.bits_per_byte.window_tokens == demo.held_out.window_tokens
        assert {measured.performance.checkpoint_digest, measured.bits_per_byte.checkpoint_digest} == {
            strategy.final.digest
        }
        assert Measuring(prepared, observer).measure([subject])[strategy.final.digest] == measured


def _texts(root):
    path = root / "texts.jsonl"
    path.write_text('{"text": "one line"}\n{"text": "another line"}\n')
    return path
