"""The record of a run: weights named without a second reading, and one place for each entry."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.checkpoint import checkpoint as checkpoints
from harness.checkpoint.checkpoint import list_files
from harness.run.filing import model_result, numbered
from harness.submission import bundle as bundles
from harness.submission.describe import file_records
from harness.submission.measurements import Measurements
from tests.validation.make import true_bundle


class TestModelResult:
    def test_names_every_file_of_every_checkpoint_without_reading_it_again(self, carried_out, monkeypatch):
        """The steps and the preparation digested the weights; the record repeats what they found."""
        prepared, strategy = carried_out()
        paths = {"base": strategy.model.base.path, "final": strategy.final.path}
        expected = {role: file_records(list_files(path)) for role, path in paths.items()}
        monkeypatch.setattr(checkpoints, "sha256_of", lambda path: pytest.fail(f"{path} is read again"))
        measured = {strategy.final.digest: Measurements()}
        result = model_result(prepared, strategy, measured, None, ())
        assert {one.role: one.checkpoint.files for one in result.checkpoints} == expected
        assert result.base.parameter_count == result.checkpoints[0].checkpoint.parameter_count


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The values of a bundle without fault."""
    return true_bundle(tmp_path_factory.mktemp("bundle"))


def file_away(bundle, folder):
    """File ``bundle`` where it belongs; its number."""
    named, number = numbered(bundle, folder)
    bundles.write(named, folder / named.submission.id)
    return number


def other(bundle, seed):
    return replace(bundle, submission=bundle.submission.model_copy(update={"seed": seed}))


class TestNumbered:
    def test_the_first_goes_without(self, bundle, tmp_path):
        """Most days see one entry of a team and plugin: its name is the three words."""
        assert numbered(bundle, tmp_path) == (bundle, 1)

    def test_the_same_entry_keeps_its_place(self, bundle, tmp_path):
        """Filed again, also after others, it is where it was, whatever was added beside it."""
        assert [file_away(one, tmp_path) for one in (bundle, other(bundle, 7), bundle)] == [1, 2, 1]
        (tmp_path / bundle.submission.id / "report.html").write_text("<p>pretty</p>")
        assert numbered(bundle, tmp_path)[1] == 1
        assert len(list(tmp_path.iterdir())) == 2

    def test_another_entry_never_takes_its_place(self, bundle, tmp_path):
        """Each goes beside the others, the number after the team, the plugin last; what stood is untouched."""
        entries = [other(bundle, seed) for seed in range(11)]
        assert [file_away(one, tmp_path) for one in entries] == list(range(1, 12))
        names = {path.name for path in tmp_path.iterdir()}
        assert {name for name in names if name.endswith("-baseline-l1")} == names
        assert "2026-11-22-team-nine.11-baseline-l1" in names
        first = tmp_path / bundle.submission.id
        assert all((first / name).read_bytes() == content for name, content in bundles.contents(entries[0]).items())

    def test_a_changed_file_is_not_the_same_entry(self, bundle, tmp_path):
        """An entry that somebody edited is left alone too."""
        file_away(bundle, tmp_path)
        (tmp_path / bundle.submission.id / "README.md").write_text("mine")
        assert numbered(bundle, tmp_path)[1] == 2

    def test_what_is_no_bundle_is_gone_round(self, bundle, tmp_path):
        """A stranger's folder, or a link to nowhere, keeps its name."""
        (tmp_path / bundle.submission.id).symlink_to(tmp_path / "nowhere")
        assert numbered(bundle, tmp_path)[1] == 2
