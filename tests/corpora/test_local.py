from __future__ import annotations

import gzip
import json

import pytest
from datasets import Dataset

from harness.corpora.local import LocalSource, content_revision, read_file
from harness.errors import DataNotAllowed

ROWS = [{"text": f"document {number}"} for number in range(5)]


def texts(source, split="train"):
    return [row.fields["text"] for row in source.rows(split)]


class TestReadFile:
    @pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "c4-train.00000-of-01024.json.gz"])
    def test_lines_plain_or_gzipped(self, write, name):
        """The same rows come out of every way of writing them, each with its line."""
        path = write(name, ROWS)
        assert list(read_file(path)) == [(f"{path}:{number + 1}", row) for number, row in enumerate(ROWS)]

    @pytest.mark.parametrize("pack", [bytes, gzip.compress])
    def test_an_array(self, tmp_path, pack):
        """Alpaca's own file is one JSON array."""
        path = tmp_path / ("a.json" if pack is bytes else "a.json.gz")
        path.write_bytes(pack(b" \n" + json.dumps(ROWS, indent=1).encode()))
        assert [fields for _, fields in read_file(path)] == ROWS

    def test_parquet(self, tmp_path):
        """Parquet comes through `datasets`."""
        path = tmp_path / "a.parquet"
        Dataset.from_list(ROWS).to_parquet(path)
        assert [fields for _, fields in read_file(path)] == ROWS

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b'{"text": "a"}\n{"text": \n', "a.jsonl:2: not JSON"),
            (b'{"text": "a"}\n\n[1]\n', "a.jsonl:3: a row must be a JSON object, found list"),
            (b'{"text": "a"}\n"b"', "a.jsonl:2: a row must be a JSON object, found str"),
            (b"[" * 100_000, "a.jsonl:1: not JSON"),
            (b'{"text": "\xff"}\n', "a.jsonl:1: not JSON"),
        ],
    )
    def test_a_bad_line_is_named(self, tmp_path, content, message):
        """The error says which line of which file is no row."""
        path = tmp_path / "a.jsonl"
        path.write_bytes(content)
        with pytest.raises(DataNotAllowed) as caught:
            list(read_file(path))
        assert message in str(caught.value)

    @pytest.mark.parametrize("content", [b"no gzip", gzip.compress(b'{"text": "a"}\n' * 1000)[:-20]])
    def test_a_broken_archive_is_an_error(self, tmp_path, content):
        """What is no gzip, or was cut off, is said so."""
        path = tmp_path / "a.jsonl.gz"
        path.write_bytes(content)
        with pytest.raises(DataNotAllowed, match=r"a\.jsonl\.gz: cannot be read"):
            list(read_file(path))

    def test_an_endless_line_is_refused(self, tmp_path, monkeypatch):
        """A line is never read without bound."""
        monkeypatch.setattr("harness.corpora.local.MAX_LINE_BYTES", 100)
        path = tmp_path / "a.jsonl"
        path.write_bytes(json.dumps({"text": "x" * 200}).encode())
        with pytest.raises(DataNotAllowed, match="a line of more than 100 bytes"):
            list(read_file(path))

    def test_a_huge_array_is_refused(self, tmp_path, monkeypatch):
        """An array is parsed in one piece, so its size is bounded, also when it is packed small."""
        monkeypatch.setattr("harness.corpora.local.MAX_ARRAY_BYTES", 100)
        path = tmp_path / "a.json.gz"
        path.write_bytes(gzip.compress(json.dumps(ROWS * 100).encode()))
        with pytest.raises(DataNotAllowed, match=r"more than 100 bytes; write it as \.jsonl"):
            list(read_file(path))


class TestLocalSource:
    def test_a_folder_is_its_files_by_name(self, write, tmp_path):
        """Rows are numbered through all files; other files are left alone."""
        write("d/2.jsonl", ROWS[3:])
        write("d/1.jsonl.gz", ROWS[:3])
        (tmp_path / "d" / "README.md").write_text("not data")
        source = LocalSource("c4", tmp_path / "d", "r")
        assert texts(source) == [row["text"] for row in ROWS]
        assert [row.number for row in source.rows("train")] == list(range(5))
        assert [file.name for file in source.files()] == ["1.jsonl.gz", "2.jsonl"]

    def test_a_folder_with_validation_files_keeps_them_apart(self, write, tmp_path):
        """The published split is kept where the copy has it."""
        write("d/c4-train.00000-of-00001.json.gz", ROWS[:3])
        write("d/c4-validation.00000-of-00001.json.gz", ROWS[3:])
        source = LocalSource("c4", tmp_path / "d", "r")
        assert source.has_split("validation")
        assert texts(source, "train") == ["document 0", "document 1", "document 2"]
        assert texts(source, "validation") == ["document 3", "document 4"]

    def test_only_what_is_read_is_digested(self, write, tmp_path):
        """A file that was not opened is not in the record."""
        write("d/1.jsonl", ROWS[:3])
        write("d/2.jsonl", ROWS[3:])
        source = LocalSource("c4", tmp_path / "d", "r")
        next(source.rows("train"))
        assert [file.name for file in source.files()] == ["1.jsonl"]

    @pytest.mark.parametrize("name", ["missing.jsonl", "empty", "notes.txt"])
    def test_nothing_to_read_is_an_error(self, tmp_path, name):
        """A wrong path is told before anything is trained."""
        (tmp_path / "empty").mkdir()
        (tmp_path / "notes.txt").write_text("x")
        with pytest.raises(DataNotAllowed, match="data set 'c4': "):
            LocalSource("c4", tmp_path / name, "r")


class TestContentRevision:
    def test_follows_the_bytes(self, write, monkeypatch):
        """The same bytes are the same revision; a changed row is another; so for sizes where files are too big."""
        first = content_revision("c4", write("a.jsonl", ROWS))
        assert content_revision("c4", write("a.jsonl", ROWS)) == first
        assert content_revision("c4", write("a.jsonl", [*ROWS[:-1], {"text": "document 9"}])) != first
        monkeypatch.setattr("harness.corpora.local.MAX_DIGESTED_BYTES", 10)
        big = content_revision("c4", write("a.jsonl", ROWS))
        assert content_revision("c4", write("a.jsonl", ROWS[:-1])) != big
