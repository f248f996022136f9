"""A contained call from end to end: the answer, the events, and the words of a failure."""

from __future__ import annotations

import textwrap

import pytest

from harness.channel import ContainedRequest, call
from harness.containment import Limits
from harness.document import Document
from harness.errors import MeasurementFailed


class Answer(Document):
    value: int


WORKER = """
    import os, sys, time
    from harness.channel import ContainedRequest, serve
    from harness.document import Document
    from harness.errors import CheckpointCorrupt

    class Answer(Document):
        value: int

    def handle(request, progress):
        {body}
        return Answer(value=7)

    sys.exit(serve(ContainedRequest, handle, sys.argv[1:]))
"""


@pytest.fixture
def ask(tmp_path, monkeypatch):
    (tmp_path / "modules").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))

    def run(body, *, time_s=30.0, answer=Answer):
        (tmp_path / "modules" / "served.py").write_text(textwrap.dedent(WORKER).format(body=body))
        events = []
        work_dir = tmp_path / "work"
        found = call(
            "served",
            ContainedRequest(result=str(work_dir / "result.json")),
            answer,
            what="the call",
            failed=MeasurementFailed,
            limits=Limits(time_s=time_s, memory_bytes=1 << 30),
            work_dir=work_dir,
            on_event=events.append,
        )
        return found, events

    return run


class TestCall:
    def test_answer_and_events(self, ask):
        """Progress gets through, what the worker prints does not, and the result is parsed."""
        body = "print('junk'); os.write(1, b'{\"event\": \"forged\"}\\n'); progress('work', 3, 3, 'done')"
        found, events = ask(body)
        assert found == Answer(value=7)
        assert events == [{"event": "progress", "label": "work", "done": 3, "total": 3, "detail": "done"}]

    def test_progress_is_thinned_but_never_its_end(self, ask):
        """Thousands of reports a second are a few events, and the last one is always there."""
        _, events = ask("[progress('work', n, 5000) for n in range(5001)]")
        assert len(events) < 500
        assert events[-1]["done"] == 5000

    def test_an_error_of_ours_is_the_message(self, ask):
        """What the worker raised on purpose is said as it was said."""
        with pytest.raises(MeasurementFailed, match=r"^the call: the shard is short$"):
            ask("raise CheckpointCorrupt('the shard is short')")

    def test_any_other_error_is_named(self, ask):
        """An accident is named by its type."""
        with pytest.raises(MeasurementFailed, match="ZeroDivisionError: "):
            ask("1 / 0")

    def test_a_crash_shows_the_end_of_the_log(self, ask):
        """A process that could not speak any more left a log."""
        with pytest.raises(MeasurementFailed, match=r"the process ended with 9\n  last words"):
            ask("sys.stderr.write('last words'); sys.stderr.flush(); os._exit(9)")

    def test_time_limit(self, ask):
        """A worker that hangs is stopped, and that is the message."""
        with pytest.raises(MeasurementFailed, match="allowed 1 s"):
            ask("time.sleep(60)", time_s=1)

    def test_a_result_of_another_kind(self, ask):
        """An answer that does not parse is a failure, not a crash of the host."""

        class Other(Document):
            name: str

        with pytest.raises(MeasurementFailed, match="not what was asked for"):
            ask("pass", answer=Other)

    def test_an_old_result_is_not_taken_for_a_new_one(self, ask):
        """A worker that writes nothing has no answer, whatever lies in the folder."""
        ask("pass")
        with pytest.raises(MeasurementFailed, match="wrote no result"):
            ask("os._exit(0)")
