from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.corpora.windows import Windows
from harness.methods.batches import IGNORE_INDEX, batch_order, batch_span, label_count, read_batch


class TestBatchOrder:
    @given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 5))
    def test_each_pass_takes_every_window_once(self, window_count, batch_windows, seed):
        """Cut into passes, the batches are permutations of all windows, also across the borders of batches."""
        sizes = {"window_count": window_count, "batch_windows": batch_windows, "seed": seed}
        stream = np.concatenate([batch_order(step, **sizes) for step in range(3 * window_count)])
        passes = stream[: len(stream) // window_count * window_count].reshape(-1, window_count)
        assert (np.sort(passes, axis=1) == np.arange(window_count)).all()

    def test_in_order_is_as_packed(self):
        """A curriculum's windows come one after the other, pass after pass, whatever the seed."""
        sizes = {"window_count": 6, "batch_windows": 4, "seed": 3, "in_order": True}
        stream = np.concatenate([batch_order(step, **sizes) for step in range(3)])
        assert stream.tolist() == [*range(6), *range(6)]

    def test_follows_the_seed_and_the_pass(self):
        """Another seed is another order, and so is the next pass."""
        orders = [batch_order(0, window_count=50, batch_windows=100, seed=seed) for seed in (0, 0, 1)]
        assert (orders[0] == orders[1]).all()
        assert (orders[0] != orders[2]).any()
        assert (orders[0][:50] != orders[0][50:]).any()


class TestReadBatch:
    def test_labels_are_the_ids_where_the_mask_is_set(self):
        """Masked tokens are ignored, all others are their own labels, and the count leaves the first token out."""
        token_ids = np.array([[5, 6, 7], [8, 9, 1]], dtype=np.uint16)
        mask = np.array([[1, 0, 1], [1, 1, 1]], dtype=np.uint8)
        windows = Windows(token_ids=token_ids, loss_mask=mask, key="k")
        indices = np.array([1, 0])
        batch = read_batch(windows, indices, torch.device("cpu"))
        assert batch.token_ids.tolist() == [[8, 9, 1], [5, 6, 7]]
        assert batch.labels.tolist() == [[8, 9, 1], [5, IGNORE_INDEX, 7]]
        assert label_count(windows, indices) == 3
        assert label_count(Windows(token_ids=token_ids, loss_mask=None, key="k"), indices) == 4


class TestBatchSpan:
    @given(st.integers(1, 7), st.lists(st.integers(0, 60), max_size=3).map(sorted), st.integers(1, 40))
    def test_every_window_is_taken_once_in_order(self, size, doublings, steps):
        """Spans follow each other without gap, and each is as wide as its doublings say."""
        spans = [batch_span(step, batch_windows=size, doublings=doublings) for step in range(steps)]
        assert [place for span in spans for place in span] == list(range(spans[-1].stop))
        for span in spans:
            assert len(span) == size * 2 ** sum(threshold <= span.start for threshold in doublings)

    def test_without_doublings_all_are_alike(self):
        """As it always was."""
        assert batch_span(3, batch_windows=5) == range(15, 20)
