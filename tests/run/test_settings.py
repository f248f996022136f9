"""Settings say what an entry will lack."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.rules.edition import load_edition
from harness.run.settings import SubmitSettings, left_out_tasks

DEMO = load_edition("demo")


class TestLeftOutTasks:
    @given(asked=st.lists(st.sampled_from(sorted(DEMO.tasks)), unique=True).map(tuple))
    def test_asked_and_left_out_are_all_of_them(self, asked):
        """Nothing is left out where nothing was asked; else every task is on one side, in the edition's order."""
        settings = SubmitSettings(plugin="p", tasks=asked, time_limit_s=1, memory_limit_bytes=1)
        left_out = left_out_tasks(settings, DEMO)
        assert left_out == tuple(name for name in DEMO.tasks if asked and name not in asked)
        assert not asked or {*asked, *left_out} == set(DEMO.tasks)
