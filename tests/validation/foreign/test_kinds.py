"""Every kind of entry is told from names, opened as what it is, and shown in one table."""

from __future__ import annotations

import gzip
import json
import tarfile

import pytest

from harness.errors import UsageError
from harness.rules.finding import Severity
from harness.validation.batch import validate_all
from harness.validation.entry import opened
from harness.validation.foreign.kind import Kind, is_results_name, kind_of
from harness.validation.listing import list_folder
from harness.validation.run import validate
from tests.hostile.packing import info, tar, zipped
from tests.validation.violations_foreign import CLEAN, MODEL, package_files, write


def as_bytes(files):
    return {name: content if isinstance(content, bytes) else content.encode() for name, content in files.items()}


KINDS = {
    Kind.CHECKPOINT: MODEL,
    Kind.PACKAGE: package_files(),
    Kind.COMPETITION: {"Results.csv": CLEAN, "code/README.md": "", "hf/config.json": "{}"},
    Kind.BUNDLE: {"submission.json": "{}"},
}


class TestKind:
    @pytest.mark.parametrize(("kind", "files"), KINDS.items(), ids=str)
    def test_is_told_from_names(self, tmp_path, kind, files):
        """Each kind's files make it that kind."""
        write(tmp_path, files)
        assert kind_of(list_folder(tmp_path)) is kind

    def test_a_bundle_that_lost_its_manifest_is_still_one(self, tmp_path):
        """An entry of ours does not become a stranger's by leaving out what speaks against it."""
        write(tmp_path, {"Results.csv": CLEAN, "lock.json": "{}"})
        assert kind_of(list_folder(tmp_path)) is Kind.BUNDLE

    def test_a_linked_manifest_makes_a_bundle(self, tmp_path):
        """Nor by making it a link."""
        write(tmp_path, {"Results.csv": CLEAN})
        (tmp_path / "submission.json").symlink_to("/etc/passwd")
        assert kind_of(list_folder(tmp_path)) is Kind.BUNDLE

    @pytest.mark.parametrize(
        ("name", "is_one"),
        [
            ("Results.csv", True),
            ("results.cvs", True),
            ("RESULTS.TSV", True),
            ("team_results.csv", True),
            ("summary_20241101_120000.txt", True),
            ("predictions.csv", False),
            ("searchresults.csv.bak", False),
            ("noresults.csv", False),
        ],
    )
    def test_tables_are_known_by_name(self, name, is_one):
        """The names that tables of results have had, and none that only contains such a name."""
        assert is_results_name(name) is is_one


class TestArchives:
    @pytest.mark.parametrize("kind", KINDS, ids=str)
    @pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
    @pytest.mark.parametrize("top", ["", "entry/"])
    def test_an_archive_is_what_is_in_it(self, tmp_path, kind, suffix, top):
        """Packed with or without a folder, an entry has the findings that it has unpacked."""
        write(tmp_path / "plain" / "entry", KINDS[kind])
        members = as_bytes({f"{top}{name}": content for name, content in KINDS[kind].items()})
        packed = zipped(*members.items())
        if suffix != ".zip":
            packed = tar(*((info(name), content) for name, content in members.items()))
        path = tmp_path / f"entry{suffix}"
        path.write_bytes(gzip.compress(packed) if suffix == ".tar.gz" else packed)
        assert validate(path) == validate(tmp_path / "plain" / "entry")

    def test_a_true_bundle_in_an_archive_is_true(self, made, tmp_path):
        """What was filed as a folder is as valid in a zip or tar."""
        with tarfile.open(tmp_path / "filed.tar.gz", "w:gz") as archive:
            archive.add(made.path, arcname=made.path.name)
        assert validate(tmp_path / "filed.tar.gz", weights=made.weights).findings == ()

    def test_nothing_is_left(self, tmp_path, monkeypatch):
        """The private folder is there while the entry is open, and gone when it is closed, also after an error."""
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        path = tmp_path / "e.zip"
        path.write_bytes(zipped(("Results.csv", CLEAN.encode())))
        with opened(path) as entry:
            assert entry.path.is_relative_to(next(tmp_path.glob("harness-entry-*")))
        assert list(tmp_path.iterdir()) == [path]
        with pytest.raises(ZeroDivisionError), opened(path):
            raise ZeroDivisionError
        assert list(tmp_path.iterdir()) == [path]

    def test_a_refused_archive_is_named_by_itself(self, tmp_path):
        """Where nothing was unpacked, the report is about the archive."""
        (tmp_path / "e.tar").write_bytes(tar(info("../a")))
        report = validate(tmp_path / "e.tar")
        assert report.entry == "e.tar"
        assert report.has_errors


class TestClean:
    @pytest.mark.parametrize(
        "files",
        [
            MODEL,
            package_files(),
            {"Results.csv": CLEAN},
            {"Results.csv": CLEAN} | {f"hf/{n}": c for n, c in MODEL.items()},
        ],
    )
    def test_a_sound_entry_has_nothing_but_the_edition_assumed(self, tmp_path, files):
        """Folder, package and table without fault break no rule."""
        write(tmp_path / "e", files)
        report = validate(tmp_path / "e")
        assert [finding.rule for finding in report.findings] == ["edition.assumed"]
        assert report.edition.startswith("neurips-2024")

    def test_rules_about_the_record_are_not_asked(self, tmp_path):
        """An entry without a record is not held against one."""
        write(tmp_path, MODEL)
        families = {rule.partition(".")[0] for rule in validate(tmp_path).checks_run}
        assert families.isdisjoint({"bundle", "lock", "data", "measurement", "models"})
        assert {"precision", "weights", "hostile"} <= families

    def test_the_weights_of_a_stranger_are_looked_at(self, tmp_path):
        """A quantised tensor in a Hugging Face folder is found at its place."""
        quantised = MODEL["model.safetensors"].replace(b'"F16"', b'"I16"')
        write(tmp_path, MODEL | {"model.safetensors": quantised})
        found = [one for one in validate(tmp_path).findings if one.rule == "precision.dtype"]
        assert [(one.place.file, one.place.tensor) for one in found] == [
            ("model.safetensors", "model.embed_tokens.weight")
        ]


class TestBatch:
    def test_one_report_an_entry(self, made, tmp_path):
        """Reports come in the order of the paths, whatever the kinds."""
        write(tmp_path / "theirs", KINDS[Kind.COMPETITION])
        (tmp_path / "notes.txt").write_text("x")
        paths = [made.path, tmp_path / "theirs", tmp_path / "notes.txt"]
        found = validate_all(paths, weights=made.weights)
        assert [report.entry for report in found] == [path.name for path in paths]
        assert [report.kind for report in found] == [Kind.BUNDLE, Kind.COMPETITION, Kind.UNKNOWN]
        assert [report.count(Severity.ERROR) for report in found] == [0, 0, 1]
        assert all(json.loads(report.model_dump_json()) for report in found)

    def test_a_path_that_is_not_there_is_said_first(self, made, tmp_path):
        """A mistyped path is the user's slip, before anything is read."""
        with pytest.raises(UsageError, match="nowhere"):
            validate_all([made.path, tmp_path / "nowhere"])
