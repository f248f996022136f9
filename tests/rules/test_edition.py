"""Editions are data: the shipped ones parse, and a wrong field is named."""

from __future__ import annotations

import pytest

from harness.errors import UnknownEdition, UsageError
from harness.rules.edition import edition_ids, load_edition, parse_edition


@pytest.mark.parametrize("name", edition_ids())
class TestShipped:
    def test_is_consistent(self, name):
        """Tracks name models that exist, columns hold every task, held-out text is an allowed data set."""
        edition = load_edition(name)
        assert edition.id == name
        assert {model for track in edition.tracks.values() for model in track.models} <= set(edition.models)
        assert {task.column for task in edition.tasks.values()} < set(edition.csv_columns)
        assert edition.held_out.data in edition.data

    def test_only_plain_floats_are_allowed(self, name):
        """No edition of the competition allows quantised tensors."""
        assert set(load_edition(name).dtypes) == {"F16", "F32"}


class TestLoad:
    def test_unknown_id_names_the_known_ones(self):
        """The way out stands in the message."""
        with pytest.raises(UnknownEdition, match="neurips-2024"):
            load_edition("nothing")

    def test_wrong_field_is_named_with_its_file(self):
        """An organiser's slip is located."""
        with pytest.raises(UsageError, match=r"mine\.toml: id"):
            parse_edition("title = 'x'", "mine.toml")
