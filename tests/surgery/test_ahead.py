"""Reading ahead changes when things happen, never what."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.surgery.ahead import ahead


class TestAhead:
    @given(items=st.lists(st.integers()), depth=st.integers(1, 3))
    def test_same_items_in_order(self, items, depth):
        """Every item, once, in its place."""
        assert list(ahead(iter(items), depth=depth)) == items

    def test_an_error_comes_in_its_turn(self):
        """What was made before the error arrives; then the error, as it was."""

        def failing():
            yield 1
            raise KeyError("gone")

        found = ahead(failing())
        assert next(found) == 1
        with pytest.raises(KeyError, match="gone"):
            next(found)

    def test_a_reader_that_leaves_ends_the_thread(self):
        """Nothing is left running, though the source has no end."""
        before = threading.active_count()
        found = ahead(iter(int, 1))
        assert next(found) == 0
        found.close()
        assert threading.active_count() == before

    def test_is_really_ahead(self):
        """The source is asked for the next item before the reader is."""
        asked = threading.Semaphore(0)

        def source():
            for number in range(3):
                asked.release()
                yield number

        found = ahead(source())
        next(found)
        assert asked.acquire(timeout=5)
        assert asked.acquire(timeout=5)
        found.close()
