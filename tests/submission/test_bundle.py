from __future__ import annotations

import hashlib
import os
from dataclasses import replace

import pytest

from harness.errors import UsageError
from harness.submission import bundle as bundles
from harness.submission import layout
from harness.submission.bundle import contents, is_filed, write
from harness.submission.looks import look_after
from harness.submission.schema import Submission


def read_all(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(bundle, tmp_path):
    return tmp_path / "demo" / bundle.submission.id


class TestContents:
    def test_the_manifest_is_last_and_names_every_other_file(self, bundle):
        """``submission.json`` is written last and vouches for the bytes of all the others."""
        files = contents(bundle)
        assert list(files)[-1] == layout.SUBMISSION
        manifest = Submission.model_validate_json(files.pop(layout.SUBMISSION))
        assert [record.name for record in manifest.files] == sorted(files)
        for record in manifest.files:
            content = files[record.name]
            assert (record.size_bytes, record.sha256) == (len(content), hashlib.sha256(content).hexdigest())

    def test_same_inputs_same_bytes(self, bundle):
        """Nothing of the moment or of the machine gets in."""
        assert contents(bundle) == contents(bundle)

    def test_holds_what_the_edition_requires_and_nothing_foreign(self, bundle):
        """Every required file is there, every name is one of the layout."""
        files = contents(bundle)
        assert set(bundle.edition.required_files) <= set(files)
        assert all(layout.belongs(name) for name in files)

    def test_a_score_names_the_file_of_its_items(self, bundle):
        """And no other score does."""
        manifest = Submission.model_validate_json(contents(bundle)[layout.SUBMISSION])
        named = [
            score.items_file
            for model in manifest.models
            for result in model.checkpoints
            for score in result.measurements.evaluation.tasks
            if score.items_file is not None
        ]
        assert named == ["items/llama-final-gsm8k.jsonl.gz"] == list(bundle.items)


class TestWrite:
    def test_the_folder_holds_the_contents(self, bundle, folder):
        """What is on disk is what ``contents`` says, and nothing is left beside it."""
        assert write(bundle, folder) == folder
        assert read_all(folder) == contents(bundle)
        assert [path.name for path in folder.parent.iterdir()] == [folder.name]

    def test_writing_again_changes_nothing(self, bundle, folder):
        """A second filing of the same run ends in the same bytes."""
        write(bundle, folder)
        before = read_all(folder)
        write(bundle, folder)
        assert read_all(folder) == before

    @pytest.mark.parametrize("survivor", [False, True])
    def test_a_failure_leaves_what_was_there(self, bundle, folder, monkeypatch, survivor):
        """When writing fails half-way, the folder is absent or the old one, never a part."""
        if survivor:
            write(bundle, folder)
        before = read_all(folder) if survivor else {}
        calls = []

        def full_disk(descriptor):
            calls.append(descriptor)
            if len(calls) == 4:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(bundles.os, "fsync", full_disk)
        with pytest.raises(OSError, match="No space"):
            write(bundle, folder)
        assert folder.exists() is survivor
        assert read_all(folder) == before
        monkeypatch.undo()
        write(bundle, folder)
        assert [path.name for path in folder.parent.iterdir()] == [folder.name]

    def test_never_replaces_what_is_no_bundle(self, bundle, folder):
        """A folder with a stranger's file is refused and left alone."""
        folder.mkdir(parents=True)
        (folder / "thesis.tex").write_text("years of work")
        with pytest.raises(UsageError, match=r"thesis\.tex"):
            write(bundle, folder)
        assert read_all(folder) == {"thesis.tex": b"years of work"}

    def test_never_follows_a_link(self, bundle, folder, tmp_path):
        """A link in the bundle's place is refused; its target is untouched."""
        folder.parent.mkdir(parents=True)
        (tmp_path / "target").mkdir()
        folder.symlink_to(tmp_path / "target")
        with pytest.raises(UsageError, match="no folder"):
            write(bundle, folder)
        assert os.listdir(tmp_path / "target") == []  # noqa: PTH208 - as the disk has it

    def test_the_folder_is_named_by_the_id(self, bundle, tmp_path):
        """An entry cannot be filed under another name."""
        with pytest.raises(UsageError, match=bundle.submission.id):
            write(bundle, tmp_path / "other")

    def test_a_replaced_bundle_leaves_no_file_behind(self, bundle, folder):
        """Files that the new bundle lacks are gone with the old one."""
        write(bundle, folder)
        fewer = bundles.Bundle(
            submission=bundle.submission,
            recipe=bundle.recipe,
            ledger=bundle.ledger,
            lock=bundle.lock,
            edition=bundle.edition,
        )
        write(fewer, folder)
        assert not (folder / "items").exists()


class TestIsFiled:
    def test_what_was_written_is_filed(self, bundle, folder):
        """Not before; and a report that was added beside it changes nothing."""
        assert not is_filed(bundle, folder)
        write(bundle, folder)
        (folder / layout.REPORT).write_text("<p>pretty</p>")
        assert is_filed(bundle, folder)

    @pytest.mark.parametrize("damage", ["changed", "missing", "link"])
    def test_one_file_that_differs_is_enough(self, bundle, folder, tmp_path, damage):
        """Another byte, no file, or a link to the right bytes: it is not this bundle."""
        write(bundle, folder)
        path = folder / layout.LOCK
        content = path.read_bytes()
        path.unlink()
        if damage == "changed":
            path.write_bytes(content + b" ")
        if damage == "link":
            (tmp_path / "elsewhere").write_bytes(content)
            path.symlink_to(tmp_path / "elsewhere")
        assert not is_filed(bundle, folder)

    def test_later_looks_do_not_make_another_entry(self, bundle, folder):
        """What was looked at after the filing is the next entry's; a look before it that is other now is a change."""
        first = look_after([], model="llama", task="gsm8k", checkpoint_digest="1" * 64)
        later = look_after([first], model="llama", task="bbh", checkpoint_digest="1" * 64)
        other = look_after([], model="phi", task="gsm8k", checkpoint_digest="1" * 64)

        def with_looks(*looks):
            return replace(bundle, ledger=bundle.ledger.model_copy(update={"looks": looks}))

        write(with_looks(first), folder)
        assert is_filed(with_looks(first), folder)
        assert is_filed(with_looks(first, later), folder)
        assert not is_filed(with_looks(other, later), folder)
        assert not is_filed(with_looks(), folder)


class TestDocuments:
    def test_every_json_file_reads_back_equal(self, bundle, folder):
        """What is written is what is read."""
        write(bundle, folder)
        documents = {
            layout.RECIPE: bundle.recipe,
            layout.LEDGER: bundle.ledger,
            layout.LOCK: bundle.lock,
        }
        for name, document in documents.items():
            assert type(document).read(folder / name) == document
        manifest = Submission.read(folder / layout.SUBMISSION)
        assert manifest.model_copy(update={"files": ()}) == bundle.submission
