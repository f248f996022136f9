from __future__ import annotations

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.rules.edition import load_edition
from harness.submission.mean import MeanScores, MeanTask
from harness.submission.results_csv import cell, column_values, parse, render

EDITION = load_edition("neurips-2024")

scores = st.floats(0, 100, allow_nan=False)


@st.composite
def means(draw):
    tasks = draw(st.sets(st.sampled_from(sorted(EDITION.tasks))))
    return MeanScores(
        tasks=tuple(
            MeanTask(task=t, column=EDITION.tasks[t].column, scale=EDITION.tasks[t].scale, score=draw(scores))
            for t in sorted(tasks)
        ),
        decode_tokens_per_s=draw(st.none() | st.floats(0.001, 1e6)),
        peak_memory_bytes=draw(st.none() | st.floats(1, 1e12)),
    )


def with_units(**units):
    return EDITION.model_copy(update={"measurement": EDITION.measurement.model_copy(update=units)})


class TestRender:
    def test_has_the_competitions_final_eight_columns(self):
        """The header is the starting kit's last one, in its order."""
        header = render(MeanScores(), EDITION).splitlines()[0]
        assert header == "CommonsenseQA,BIG-Bench-Hard,GSM8K,HumanEval,CHID,TruthfulQA,Throughput,Memory-Usage"

    @given(means())
    def test_reads_back_what_was_measured(self, mean):
        """One row; every value comes back to the written decimals, every absent one as an empty cell."""
        table = parse(render(mean, EDITION))
        assert table.columns == EDITION.csv_columns
        assert len(table.rows) == 1
        values = column_values(mean, EDITION)
        for column, text in zip(table.columns, table.rows[0], strict=True):
            if column in values:
                assert float(text) == pytest.approx(values[column], abs=5.1e-7)
            else:
                assert text == ""

    def test_states_memory_in_the_editions_unit(self):
        """8 573 243 000 bytes are 8573.243 MB and 8.573243 GB."""
        mean = MeanScores(peak_memory_bytes=8_573_243_000)
        assert column_values(mean, EDITION)["Memory-Usage"] == 8573.243
        assert column_values(mean, with_units(memory_unit="GB (10**9 bytes)"))["Memory-Usage"] == 8.573243

    def test_refuses_a_unit_that_it_does_not_know(self):
        """An edition with another unit is an error with the field, never a wrong number."""
        mean = MeanScores(peak_memory_bytes=1, decode_tokens_per_s=1)
        for field in ("memory_unit", "throughput_unit"):
            with pytest.raises(UsageError, match=f"measurement.{field}"):
                render(mean, with_units(**{field: "bushels"}))


class TestCell:
    @given(st.integers(1, 7000), st.data())
    def test_keeps_the_granularity_of_every_task(self, item_count, data):
        """A percentage k/n stays nearest to its own k when written."""
        right = data.draw(st.integers(0, item_count))
        written = float(cell(100 * right / item_count))
        assert round(written * item_count / 100) == right
        assert abs(written * item_count / 100 - right) < 1e-3


class TestParse:
    @given(st.text(max_size=200))
    def test_any_text_is_a_table_or_a_csv_error(self, text):
        """Nothing that a stranger writes raises anything else."""
        try:
            table = parse(text)
        except csv.Error:
            return
        assert all(isinstance(field, str) for row in (table.columns, *table.rows) for field in row)

    def test_drops_blank_lines_and_blanks(self):
        """Spaces, blank lines and CRLF do not count."""
        table = parse("a , b\r\n\r\n1, 2\r\n\r\n")
        assert (table.columns, table.rows) == (("a", "b"), (("1", "2"),))
