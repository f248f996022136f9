"""Of a long log a reader needs what went wrong."""

from __future__ import annotations

from harness.judge.worker_log import LINES, TRACEBACK, relevant_lines


class TestRelevantLines:
    def test_the_last_traceback_is_shown_whole_where_it_is_short(self, tmp_path):
        """Though chatter follows it and another one precedes it."""
        log = tmp_path / "log.txt"
        log.write_text(f"{TRACEBACK}\n  old\nKeyError: old\n{TRACEBACK}\n  File x\nValueError: the cause\nbye\n")
        assert [line.strip() for line in relevant_lines(log).splitlines()[1:]] == [
            f"{TRACEBACK}",
            "File x",
            "ValueError: the cause",
            "bye",
        ]

    def test_a_long_one_keeps_its_end(self, tmp_path):
        """The last line of a traceback is the error."""
        log = tmp_path / "log.txt"
        log.write_text("\n".join([TRACEBACK, *(f"  File {n}" for n in range(50)), "ValueError: the cause"]))
        shown = relevant_lines(log).splitlines()[1:]
        assert len(shown) == LINES
        assert shown[-1].strip() == "ValueError: the cause"

    def test_without_a_traceback_the_last_lines(self, tmp_path):
        """And nothing where nothing was written."""
        log = tmp_path / "log.txt"
        log.write_text("\n\n".join(map(str, range(100))))
        assert [line.strip() for line in relevant_lines(log).splitlines()[1:]] == list(map(str, range(88, 100)))
        assert not relevant_lines(tmp_path / "absent")
