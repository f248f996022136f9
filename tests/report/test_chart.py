"""A drawing for a page: the page's colours, ids of its own, and nobody's text as markup."""

from __future__ import annotations

import xml.etree.ElementTree as ET  # our own drawing, not a stranger's

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.report.chart import INK, SERIES, THEME, draw, label

SVG = "{http://www.w3.org/2000/svg}"


def line(text):
    def paint(axes):
        axes.plot([1, 2, 3], [3, 1, 2], color=SERIES[2])
        axes.set_title(text, color=INK)

    return paint


class TestDraw:
    def test_same_numbers_same_bytes(self):
        """No date, no random id."""
        assert draw("a", 2.0, line("x")) == draw("a", 2.0, line("x"))

    def test_ids_start_with_its_name(self):
        """Two drawings on one page never meet."""
        ids = [{element.get("id") for element in ET.fromstring(draw(name, 2.0, line("x"))).iter()} for name in "ab"]  # noqa: S314
        assert ids[0] & ids[1] == {None}
        assert all(found is None or found.startswith("a-") for found in ids[0])

    def test_every_colour_is_the_pages(self):
        """The stand-ins are gone, what they stand for is there; the page gives the extent."""
        drawn = draw("a", 2.0, line("x"))
        assert not [stand_in for stand_in in THEME if stand_in in drawn]
        assert THEME[SERIES[2]] in drawn
        root = ET.fromstring(drawn)  # noqa: S314
        assert root.get("width") is None
        assert root.get("viewBox")
        assert not list(root.iter(f"{SVG}style"))

    @given(text=st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20))
    @settings(max_examples=10)
    def test_any_text_stays_text(self, text):
        """Markup, formulas and unknown glyphs are what is written, in one text element."""
        shown = label(f"<b> $x^2$ {text}")
        root = ET.fromstring(draw("a", 2.0, line(shown)))  # noqa: S314
        assert not list(root.iter(f"{SVG}b"))
        assert any("<b> $x^2$" in "".join(element.itertext()) for element in root.iter(f"{SVG}text"))


class TestLabel:
    @given(st.text())
    def test_is_one_short_printable_line(self, text):
        """Whatever a team is called."""
        assert label(text).isprintable()
        assert len(label(text)) <= 26

    @pytest.mark.parametrize("text", ["llama", "a b", ""])
    def test_leaves_what_fits(self, text):
        """Short names are not touched."""
        assert label(text) == text
