"""Entries made to harm their reader: reported, never followed, never believed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.rules.finding import Severity
from harness.validation import strict_json
from harness.validation.listing import MAX_FILES, Unreadable, list_folder, read_plain, stays_inside
from harness.validation.run import validate


def rules(report):
    return {one.rule for one in report.findings}


class TestLinks:
    def test_a_linked_file_is_named_and_not_read(self, made, tmp_path):
        """A record that is a link is no record: what it points to never reaches a finding."""
        secret = tmp_path / "secret.json"
        secret.write_text('{"password": "swordfish"}')
        (made.path / "recipe.json").unlink()
        (made.path / "recipe.json").symlink_to(secret)
        report = validate(made.path, weights=made.weights)
        assert {"bundle.link", "bundle.required_files"} <= rules(report)
        assert "swordfish" not in report.model_dump_json()
        assert str(tmp_path) not in report.model_dump_json()

    def test_a_linked_folder_is_not_entered(self, made, tmp_path):
        """Files behind a linked folder are not part of the entry."""
        (tmp_path / "models").mkdir()
        (made.path / "models").rename(tmp_path / "moved")
        (made.path / "models").symlink_to(tmp_path / "moved")
        report = validate(made.path, weights=made.weights)
        assert "bundle.link" in rules(report)
        assert "bundle.model_files" in rules(report)

    def test_a_link_to_itself_ends(self, made):
        """A circle of links is a finding, not an endless walk."""
        (made.path / "loop").symlink_to(made.path)
        assert "bundle.link" in rules(validate(made.path))

    def test_linked_weights_are_not_followed(self, made, tmp_path):
        """A checkpoint folder that is a link is not there."""
        (made.weights / "llama" / "final").rename(tmp_path / "final")
        (made.weights / "llama" / "final").symlink_to(tmp_path / "final")
        assert "weights.missing" in rules(validate(made.path, weights=made.weights))

    def test_a_linked_shard_is_corrupt(self, made, tmp_path):
        """A shard that is a link is not read through."""
        shard = made.weights / "llama" / "final" / "model.safetensors"
        shard.rename(tmp_path / "model.safetensors")
        shard.symlink_to(tmp_path / "model.safetensors")
        assert "weights.corrupt" in rules(validate(made.path, weights=made.weights))


class TestSpecialFiles:
    def test_a_pipe_does_not_hang(self, made):
        """A named pipe in place of a record is named, not waited for."""
        (made.path / "lock.json").unlink()
        os.mkfifo(made.path / "lock.json")
        assert {"bundle.link", "bundle.required_files"} <= rules(validate(made.path))

    def test_reading_a_pipe_or_a_link_is_refused(self, tmp_path):
        """``read_plain`` opens plain files only, even when the listing was fooled."""
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "link").symlink_to(tmp_path / "pipe")
        for name in ("pipe", "link", "nothing"):
            with pytest.raises(Unreadable):
                read_plain(tmp_path / name, max_bytes=10)

    def test_a_name_that_is_not_utf8(self, made):
        """A name of arbitrary bytes is shown escaped and the report is still JSON."""
        with open(os.fsencode(made.path) + b"/\xff\x1b[2J", "wb"):  # noqa: PTH123 - a name that Path cannot spell
            pass
        report = validate(made.path)
        assert "bundle.file_name" in rules(report)
        assert json.loads(report.model_dump_json())["findings"]


class TestBounds:
    def test_too_many_files_end_the_listing(self, tmp_path):
        """A folder of more names than the bound is listed up to it and said to be incomplete."""
        for number in range(MAX_FILES + 10):
            (tmp_path / str(number)).touch()
        listing = list_folder(tmp_path)
        assert len(listing.files) == MAX_FILES
        assert not listing.complete

    @pytest.mark.parametrize("unit", [b"[],", b"{},", b'"a",', b"1.5,", b"[[[[1]]]],"])
    def test_memory_stays_bounded(self, made, unit):
        """The densest JSON, in every file at once, costs less than 300 MiB in a process of its own."""
        content = b"[" + unit * ((4 << 20) // len(unit) - 2) + b"1]"
        for name in ("recipe.json", "ledger.json", "lock.json", "models/phi.json", "submission.json"):
            (made.path / name).write_bytes(content)
        code = (
            "import sys; from pathlib import Path; from harness.validation.run import validate;"
            "validate(Path(sys.argv[1])); status = Path('/proc/self/status').read_text();"
            "print(status.split('VmHWM:')[1].split()[0])"  # ru_maxrss would carry over the peak of the tests' process
        )
        run = subprocess.run([sys.executable, "-c", code, made.path], check=True, timeout=60, capture_output=True)
        assert int(run.stdout) < 300 << 10  # KiB


class TestTerminal:
    def test_no_value_reaches_the_terminal_raw(self, made):
        """Escape sequences in any text of the record never stand in a report."""
        record = made.read("submission.json")
        for name in ("track", "team", "id", "notice"):
            record[name] = "\x1b]0;owned\x07"
        record["models"][0]["name"] = record["models"][1]["base"]["embedded"] = "\x1b]0;owned\x07"
        record["models"][2]["checkpoints"][0]["checkpoint"]["dtypes"] = ["\x1b]0;owned\x07"]
        record["\x1b[2J"] = 1
        (made.path / "submission.json").write_text(json.dumps(record))
        unknown_field = validate(made.path)
        del record["\x1b[2J"]
        (made.path / "submission.json").write_text(json.dumps(record))
        text = unknown_field.model_dump_json() + validate(made.path).model_dump_json()
        assert "owned" in text
        assert "\\u001b" not in text
        assert "\x1b" not in text


class TestJson:
    @pytest.mark.parametrize("content", [b"\xef\xbb\xbf{}", b"", b"nul", b'{"a": 1e}', b'"\xed\xa0\x80"', b"{}{}"])
    def test_what_is_no_json_is_refused(self, content):
        """Anything but one JSON value in UTF-8 is refused with a reason."""
        with pytest.raises(strict_json.NotJson):
            strict_json.parse(content)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
        )
    )
    def test_reads_what_json_writes(self, value):
        """Every JSON value of sane depth comes back equal."""
        assert strict_json.parse(json.dumps(value).encode()) == value

    @pytest.mark.parametrize("depth", [65, 900, 5_000, 200_000])
    @pytest.mark.parametrize("mark", ["[", '{"a":'])
    def test_bottomless_nesting_is_refused(self, depth, mark):
        """Deep nesting is a refusal at any depth, never a crash."""
        close = "]" if mark == "[" else "}"
        with pytest.raises(strict_json.NotJson):
            strict_json.parse((mark * depth + "1" + close * depth).encode())


class TestAnyBytes:
    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(content=st.binary(max_size=200), name=st.sampled_from(["submission.json", "lock.json", "Results.csv"]))
    def test_any_bytes_in_any_file_make_findings_and_no_crash(self, made, content, name):
        """Whatever stands in a file of the record, every check runs to its end and the report is JSON."""
        kept = (made.path / name).read_bytes()
        (made.path / name).write_bytes(content)
        try:
            report = validate(made.path)
        finally:
            (made.path / name).write_bytes(kept)
        assert report.count(Severity.ERROR) > 0
        assert "validation.check_crashed" not in rules(report)
        assert json.loads(report.model_dump_json())

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(data=st.data())
    def test_any_value_in_any_field_makes_no_check_crash(self, made, data):
        """Another value anywhere in the manifest never crashes a check."""
        kept = (made.path / "submission.json").read_bytes()
        document = json.loads(kept)
        holder = document
        while True:
            key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
            inner = holder[key]
            if not isinstance(inner, (dict, list)) or not inner or data.draw(st.booleans()):
                break
            holder = inner
        strange = st.sampled_from(
            [None, -1, 0, 10**30, 1.5, "NaN", "Infinity", "", "\x1b", "../..", "/etc/passwd", [], {}]
        )
        holder[key] = data.draw(strange)
        (made.path / "submission.json").write_text(json.dumps(document))
        report = validate(made.path, weights=made.weights)
        (made.path / "submission.json").write_bytes(kept)
        assert "validation.check_crashed" not in rules(report), report.findings


class TestStaysInside:
    @given(st.text(max_size=20))
    def test_never_leads_out(self, tmp_path_factory, name):
        """Whatever the name, the folder that comes back lies inside."""
        root = tmp_path_factory.getbasetemp()
        folder = stays_inside(root, name)
        assert folder is None or folder.resolve().is_relative_to(root.resolve())
