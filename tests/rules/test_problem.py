"""Lines of a TOML file: whatever tomllib reads as a key of a table has the line that it stands on."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from harness.rules.problem import MAX_SHOWN, line_of, lines_of, shown

NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,6}", fullmatch=True)


def paths(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from paths(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from paths(inner, (*path, str(number)))


class TestLines:
    @given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.integers(0, 9), min_size=1), max_size=4))
    def test_every_key_has_its_line(self, tables):
        """The line of each key of each table holds that key."""
        text = "".join(
            f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in table.items())
            for name, table in tables.items()
        )
        lines = lines_of(text)
        for name, table in tables.items():
            assert text.splitlines()[lines[name,] - 1] == f"[{name}]"
            assert all(text.splitlines()[lines[name, key] - 1] == f"{key} = {table[key]}" for key in table)

    @given(st.lists(st.integers(0, 99), min_size=1, max_size=5))
    def test_tables_of_an_array_are_told_apart(self, values):
        """The n-th table of an array is found at its own header."""
        text = "".join(f"# note\n[[a.b]]\nc = {value}\n" for value in values)
        assert tomllib.loads(text)["a"]["b"] == [{"c": value} for value in values]
        lines = lines_of(text)
        for number, value in enumerate(values):
            assert text.splitlines()[lines["a", "b", str(number), "c"] - 1] == f"c = {value}"
            assert lines["a", "b", str(number)] == 3 * number + 2

    def test_quoted_and_dotted_keys(self):
        """Keys in quotes and keys with dots are the same paths to us as to the parser."""
        text = '["a b".c]\nd.e = 1 # x = 2\n"f" = 2\n'
        assert set(lines_of(text)) >= {("a b", "c", "d", "e"), ("a b", "c", "f")}
        assert set(lines_of(text)) <= set(paths(tomllib.loads(text)))

    def test_what_is_missing_has_the_line_around_it(self):
        """A field that is not there has its table's line; a whole file has none."""
        lines = lines_of("x = 1\n[a]\n")
        assert line_of(lines, ("a", "missing", "deep")) == 2
        assert line_of(lines, ("missing",)) is None


@given(st.text() | st.lists(st.text()))
def test_shown_is_one_short_printable_line(value):
    """Whatever was found fits a message."""
    text = shown(value)
    assert text.isprintable()
    assert len(text) <= MAX_SHOWN
