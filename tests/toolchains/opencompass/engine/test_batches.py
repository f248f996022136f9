"""The division into batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.toolchains.opencompass.worker.engine.batches import ALIKE_TOKENS, FAMILY_ROWS, Limits, divide

ROW = st.lists(st.integers(0, 2), min_size=1, max_size=8).map(tuple)
BEGINNING = st.sampled_from([(), tuple(range(40)), tuple(range(7, 60))])
PROMPTS = st.lists(
    st.builds(lambda beginning, row: beginning + row, BEGINNING, ROW), min_size=1, max_size=40, unique=True
)


class TestDivide:
    @given(PROMPTS, st.integers(1, 9), st.integers(1, 500))
    def test_every_prompt_stands_in_one_batch_with_its_like(self, prompts, rows, tokens):
        """Within the limits; rows of a batch begin with the same tokens, and each has one of its own."""
        batches = divide(prompts, 5, Limits(rows=rows, tokens=tokens))
        assert sorted(row for batch in batches for row in batch.rows) == list(range(len(prompts)))
        for batch in batches:
            inside = [prompts[row] for row in batch.rows]
            assert len({prompt[: batch.prefix_tokens] for prompt in inside}) == 1
            assert all(len(prompt) > batch.prefix_tokens for prompt in inside)
            assert len(inside) <= rows
            widest = max(len(prompt) for prompt in inside) - batch.prefix_tokens + 5
            assert len(inside) == 1 or widest * len(inside) <= tokens

    @given(PROMPTS)
    def test_depends_on_nothing_else(self, prompts):
        """A rerun divides alike."""
        limits = Limits(rows=4, tokens=1000)
        assert divide(prompts, 5, limits) == divide(list(prompts), 5, limits)

    def test_shares_the_longest_beginning(self):
        """Of a few-shot task: all of the examples."""
        examples = tuple(range(100))
        prompts = [(*examples, 200 + row, 1) for row in range(FAMILY_ROWS)]
        assert [batch.prefix_tokens for batch in divide(prompts, 5, Limits(rows=64, tokens=10_000))] == [100]

    def test_a_few_alike_among_many_go_with_the_others(self):
        """A batch of two costs more steps than its prefix saves."""
        alike = [(*range(ALIKE_TOKENS + 8), 200 + row) for row in range(2)]
        others = [tuple(range(row, row + 60)) for row in range(1, 20)]
        batches = divide([*alike, *others], 5, Limits(rows=64, tokens=10_000))
        assert [batch.prefix_tokens for batch in batches] == [0]
