"""``rules check``, ``explain``, ``validate``, ``sign`` and ``verify``: what scripts read, and exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from harness.cli.app import run
from harness.rules.edition import edition_text
from harness.validation.catalogue import rules
from tests.validation.make import make


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("cli")
    return make(root)


@pytest.fixture
def bundle(pristine, tmp_path, monkeypatch):
    """A true bundle in the working folder, far from any workspace."""
    path = tmp_path / pristine.path.name
    shutil.copytree(pristine.path, path)
    monkeypatch.chdir(tmp_path)
    return path


@pytest.fixture
def weights(pristine):
    return str(pristine.weights)


class TestRulesCheck:
    def test_a_whole_edition_is_said_to_be_one(self, capsys, tmp_path):
        """Exit code 0, and the id and version that were read."""
        (tmp_path / "mine.toml").write_text(edition_text("demo"))
        assert run(["rules", "check", str(tmp_path / "mine.toml")]) == 0
        assert "demo 1.1" in capsys.readouterr().out

    def test_a_fault_has_file_line_field_allowed_and_found(self, capsys, tmp_path):
        """Exit code 2; the same as JSON for scripts."""
        path = tmp_path / "mine.toml"
        path.write_text(edition_text("demo").replace('data = "c4"', 'data = "pile"'))
        assert run(["rules", "check", str(path)]) == 2
        out = capsys.readouterr().out
        assert all(part in out for part in (f"{path}:", "held_out.data", "allowed: c4, alpaca", "found: pile"))
        assert run(["rules", "check", str(path), "--json"]) == 2
        (problem,) = json.loads(capsys.readouterr().out)["problems"]
        assert path.read_text().splitlines()[problem["line"] - 1] == 'data = "pile"'

    @pytest.mark.parametrize("content", [None, b"\xff\xff", b"x" * (1 << 21)])
    def test_what_cannot_be_read_is_a_usage_error(self, capsys, tmp_path, content):
        """No file, no text, no end."""
        if content is not None:
            (tmp_path / "mine.toml").write_bytes(content)
        assert run(["rules", "check", str(tmp_path / "mine.toml")]) == 2
        assert "mine.toml" in capsys.readouterr().err


class TestExplain:
    def test_lists_all_and_tells_one(self, capsys):
        """The list has every rule; the page has its fix; both are JSON for scripts."""
        assert run(["explain", "--json"]) == 0
        assert [one["id"] for one in json.loads(capsys.readouterr().out)] == list(rules())
        assert run(["explain", "memory.limit", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["id"] == "memory.limit"
        assert run(["explain", "memory.limit"]) == 0
        assert rules()["memory.limit"].fix in capsys.readouterr().out

    def test_a_slip_is_a_usage_error(self, capsys):
        """Exit code 2 and the near name."""
        assert run(["explain", "memory.limt"]) == 2
        assert "memory.limit" in capsys.readouterr().err


class TestValidate:
    @pytest.mark.parametrize("output", ["text", "json", "sarif", "junit"])
    def test_the_exit_code_is_the_verdict_in_every_format(self, capsys, bundle, weights, output):
        """0 for a true bundle, 4 for a broken rule, and the answer is of the format that was asked for."""
        command = ["validate", bundle.name, "--weights", weights, "--format", output]
        assert run(command) == 0
        (bundle / "README.md").write_text("better")
        capsys.readouterr()
        assert run(command) == 4
        out = capsys.readouterr().out
        assert "bundle.files_digest" in out
        if output in {"json", "sarif"}:
            json.loads(out)
        if output == "junit":
            assert ET.fromstring(out.partition("\n")[2]).tag == "testsuites"  # noqa: S314 - our own text

    def test_strict_makes_a_warning_break(self, capsys, bundle):
        """Weights out of reach are a warning, and an error to the strict."""
        assert run(["validate", bundle.name]) == 0
        assert run(["validate", bundle.name, "--strict"]) == 4
        assert "warning" not in capsys.readouterr().out.rpartition("checks, edition")[2]

    def test_several_entries_have_one_table(self, capsys, bundle, weights):
        """A line an entry, then their blocks; one alone has no table."""
        shutil.copytree(bundle, "other")
        assert run(["validate", bundle.name, "other", "--weights", weights]) == 4
        header, first, second, *_ = capsys.readouterr().out.splitlines()
        assert header.split() == ["entry", "kind", "errors", "warnings", "notes"]
        assert first.split() == [bundle.name, "bundle", "0", "0", "0"]
        assert second.split() == ["other", "bundle", "1", "0", "0"]
        run(["validate", "other", "--weights", weights])
        assert "kind" not in capsys.readouterr().out.splitlines()[0]

    def test_sarif_names_files_by_the_typed_path(self, capsys, bundle, weights):
        """A forge finds the file in its repository."""
        (bundle / "README.md").write_text("better")
        run(["validate", bundle.name, "--weights", weights, "--format", "sarif"])
        (result,) = json.loads(capsys.readouterr().out)["runs"][0]["results"]
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert uri == f"{bundle.name}/README.md"


class TestSigning:
    def test_what_was_signed_is_verified_and_a_changed_byte_is_named(self, capsys, bundle, weights):
        """0 for what was filed, 4 with the file for what was not; the signed bundle stays valid."""
        assert run(["sign", "--new-key", "key"]) == 0
        assert run(["verify", bundle.name, "--public-key", "key.pub"]) == 4
        assert "not signed" in capsys.readouterr().out
        assert run(["sign", bundle.name, "--key", "key"]) == 0
        assert run(["verify", bundle.name, "--public-key", "key.pub"]) == 0
        assert run(["validate", bundle.name, "--weights", weights, "--strict"]) == 0
        content = bytearray((bundle / "Results.csv").read_bytes())
        content[-2] ^= 1
        (bundle / "Results.csv").write_bytes(content)
        capsys.readouterr()
        assert run(["verify", bundle.name, "--public-key", "key.pub", "--json"]) == 4
        said = json.loads(capsys.readouterr().out)
        assert not said["genuine"]
        assert said["faults"] == [f"Results.csv: was changed after signing, first within bytes 0 to {len(content) - 1}"]

    def test_another_key_does_not_verify(self, capsys, bundle):
        """A signature by somebody else is said to be somebody else's."""
        for key in ("mine", "theirs"):
            run(["sign", "--new-key", key])
        run(["sign", bundle.name, "--key", "theirs"])
        assert run(["verify", bundle.name, "--public-key", "mine.pub"]) == 4
        assert "another key" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "arguments", [["sign"], ["sign", "x"], ["sign", "--key", "k"], ["sign", "x", "--key", "k", "--new-key", "n"]]
    )
    def test_half_a_command_is_a_usage_error(self, capsys, tmp_path, monkeypatch, arguments):
        """Exit code 2, and nothing is written."""
        monkeypatch.chdir(tmp_path)
        assert run(arguments) == 2
        assert "--new-key" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["explain"], ["rules", "show", "demo"], ["sign", "--help"]])
def test_light_commands_import_no_torch(command):
    """What only looks never pays for torch."""
    code = f"import sys; from harness.cli.app import run; run({command!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
