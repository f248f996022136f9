from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.submission import layout
from harness.submission.naming import MAX_NAME_CHARACTERS, folder_name, is_folder_name, is_safe, require_safe, suggest

DAY = dt.date(2026, 11, 22)


class TestFolderName:
    def test_is_date_team_plugin(self):
        """The name of the folder is the three, in this order."""
        assert folder_name(DAY, "team-nine", "baseline-l1") == "2026-11-22-team-nine-baseline-l1"

    @pytest.mark.parametrize("team", ["", "Team", "a b", "a/b", "..", "a--b", "-a", "a-", "é", "x" * 49, "\u0661"])
    def test_refuses_what_is_not_safe(self, team):
        """A name that another system could read differently is refused with one that is not."""
        with pytest.raises(UsageError, match="try '"):
            folder_name(DAY, team, "baseline-l1")

    @given(team=st.from_regex(r"[a-z0-9]+(-[a-z0-9]+){0,3}", fullmatch=True).filter(lambda name: len(name) <= 48))
    def test_is_recognised(self, team):
        """What ``folder_name`` makes is a folder name, of this team and plugin alone."""
        name = folder_name(DAY, team, "nics")
        assert is_folder_name(name, team, "nics")
        assert not is_folder_name(name, team, "nic")
        assert not is_folder_name(f"x{name}", team, "nics")

    @given(number=st.integers(2, 10**6))
    def test_a_number_stands_after_the_team(self, number):
        """A second entry of a day is told apart, still ends in its plugin, and is a folder name of the same two."""
        name = folder_name(DAY, "team-nine", "baseline-l1", number=number)
        assert name == f"2026-11-22-team-nine.{number}-baseline-l1"
        assert is_folder_name(name, "team-nine", "baseline-l1")
        assert name != folder_name(DAY, "team-nine", "baseline-l1", number=number + 1)

    @pytest.mark.parametrize("number", ["0", "1", "02", "", "-2", "2.3", "x"])
    def test_no_other_number(self, number):
        """The first entry goes without, and a number is written in one way only."""
        assert not is_folder_name(f"2026-11-22-nine.{number}-nics", "nine", "nics")


class TestSuggest:
    @given(st.text())
    def test_is_always_safe(self, name):
        """Whatever was typed, the proposal can be used."""
        assert is_safe(suggest(name))

    @given(st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True))
    def test_leaves_a_safe_word_alone(self, name):
        """A safe word is its own proposal, and ``require_safe`` returns it."""
        assert suggest(name) == name == require_safe(name, "team")


class TestIsSafe:
    @given(st.text(max_size=MAX_NAME_CHARACTERS + 2))
    def test_no_safe_name_leads_anywhere(self, name):
        """A safe name is one short ASCII path component that is not hidden."""
        if is_safe(name):
            assert name.isascii()
            assert 0 < len(name) <= MAX_NAME_CHARACTERS
            assert not set(name) & set("/\\: \n")
            assert name[0] not in ".-"


class TestLayout:
    @given(name=st.from_regex(r"[a-z0-9]+([-_.][a-z0-9]+){0,3}", fullmatch=True).filter(is_safe))
    def test_every_safe_model_has_its_file(self, name):
        """The file of a model is part of a bundle, whatever its safe name."""
        assert layout.is_bundle_file(layout.model_file(name))
        assert layout.belongs(layout.items_file(name, "final", "gsm8k"))

    @pytest.mark.parametrize("name", ["../x", "a/b", ""])
    def test_no_model_file_leaves_the_bundle(self, name):
        """A name that is not safe has no file."""
        with pytest.raises(UsageError):
            layout.model_file(name)

    @pytest.mark.parametrize("name", ["models/../x.json", "models/a/b.json", "submission.json/x", "Results.csv\n", "x"])
    def test_nothing_else_belongs_to_a_bundle(self, name):
        """Only the layout's own names are files of a bundle."""
        assert not layout.is_bundle_file(name)
