"""What crosses the file border: closed, frozen, whole on the disk, with stable bytes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.document import Document, digest_of, write_atomically

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


class Note(Document):
    text: str
    score: float = 0.0


class TestDocument:
    @given(st.text(), st.floats(allow_nan=False))
    def test_survives_its_file(self, tmp_path_factory, text, score):
        """What is written is what is read, infinities included."""
        path = tmp_path_factory.mktemp("note") / "note.json"
        try:
            text.encode()
        except UnicodeEncodeError:
            return
        Note(text=text, score=score).write(path)
        assert Note.read(path) == Note(text=text, score=score)

    def test_unknown_fields_are_refused_with_their_path(self):
        """A field that nobody asked for is an error that names it."""
        with pytest.raises(ValidationError) as caught:
            Note.model_validate({"text": "a", "txet": "b"})
        assert caught.value.errors()[0]["loc"] == ("txet",)

    def test_is_frozen(self):
        """A document is a value."""
        with pytest.raises(ValidationError, match="frozen"):
            Note(text="a").text = "b"  # type: ignore[misc]


class TestDigestOf:
    @given(st.dictionaries(st.text(), values, max_size=4))
    def test_order_of_keys_does_not_matter(self, value):
        """Equal objects have equal digests, however they were put together."""
        try:
            digest = digest_of(value)
        except UnicodeEncodeError:
            return
        assert digest == digest_of(dict(reversed(value.items())))

    def test_numbers_that_are_not_json_are_refused(self):
        """A digest never hides a value that no JSON reader would take."""
        with pytest.raises(ValueError, match="JSON"):
            digest_of([math.nan])


class TestWriteAtomically:
    def test_replaces_and_leaves_nothing_beside(self, tmp_path):
        """The old content is gone, the new one whole, and no partial file stays."""
        path = tmp_path / "deep" / "file"
        write_atomically(path, b"old")
        write_atomically(path, b"new")
        assert path.read_bytes() == b"new"
        assert list(path.parent.iterdir()) == [path]

    def test_a_failed_write_keeps_the_old_content(self, tmp_path):
        """What cannot be written changes nothing."""
        path = tmp_path / "file"
        path.write_bytes(b"old")
        with pytest.raises(TypeError):
            write_atomically(path, "no bytes")  # type: ignore[arg-type]
        assert path.read_bytes() == b"old"
