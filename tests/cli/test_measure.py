"""``harness measure``, ``devices`` and ``doctor`` from the command line."""

from __future__ import annotations

import json
import re

import pytest
import typer
from hypothesis import given
from hypothesis.strategies import integers, sampled_from, text

from harness.checkpoint.checkpoint import Checkpoint
from harness.cli import devices, doctor, measure
from harness.cli.measure import UNITS, size_in_bytes
from harness.errors import UsageError
from harness.judge.intervals import median_interval
from harness.judge.measurement import HostMeasurement
from harness.judge.phone import PhoneMeasurement, PhoneRun
from harness.rules.edition import load_edition


def run(*words):
    """The exit code of a command line; errors of ours are raised."""
    app = typer.Typer()
    for command in (measure, devices, doctor):
        command.register(app)
    return app(list(words), standalone_mode=False)


class TestSizeInBytes:
    @given(count=integers(1, 10**6), unit=sampled_from(sorted(UNITS)))
    def test_number_times_unit(self, count, unit):
        """Decimal and binary units, in any case, with or without a space."""
        for typed in (f"{count}{unit}", f"{count} {unit.upper()}", f" {count}.0{unit}"):
            assert size_in_bytes(typed) == count * UNITS[unit]

    @given(typed=text())
    def test_anything_else_is_a_usage_error(self, typed):
        """A size above 0, or an error that shows what was typed."""
        try:
            size = size_in_bytes(typed)
        except UsageError as error:
            said = str(error)
        else:
            said = repr(typed)
            assert size > 0
        assert repr(typed) in said

    @pytest.mark.parametrize("typed", ["", "0", "-1GB", "12TB", "1e9", "nan", "0.0000000001", "12 GB GB"])
    def test_what_is_refused(self, typed):
        """Nothing, no size, unknown units and spellings that a reader could misread."""
        with pytest.raises(UsageError, match="expected a number above 0"):
            size_in_bytes(typed)


class TestMeasure:
    def test_json_is_the_whole_record(self, tiny_checkpoints, capsys):
        """Predicted, measured under a cap that holds, and the kit's figure beside, as one document."""
        folder = tiny_checkpoints["qwen2"]
        options = ("--repeats", "3", "--kit-repeats", "2", "--memory-limit", "2GB", "--threads", "1")
        run("measure", str(folder), "--json", "--quiet", *options)
        said = capsys.readouterr().out
        found = HostMeasurement.model_validate_json(said)
        assert (found.kind, found.model, found.runtime) == ("host figures", folder.name, "transformers")
        assert found.weights_digest == found.checkpoint_digest == Checkpoint.of(folder).digest
        assert str(folder.parent) not in said
        assert found.speeds.decode_tokens_per_s.median == found.performance.decode_tokens_per_s
        assert len(found.performance.decode_cpu_s) == len(found.performance.decode_s) == 3
        assert found.performance.host is not None
        assert found.predicted_over_measured == pytest.approx(1, abs=0.1)
        assert found.memory_limit_bytes == 2 * 10**9 > found.performance.peak_memory_bytes
        assert (found.kit.forward_tokens, found.kit.kit_length, len(found.kit.forward_s)) == (512, False, 2)
        assert found.kit.kit_compatible_inferences_per_s is None
        measure._print_host(found, load_edition("demo").measurement)
        shown = capsys.readouterr().out
        assert "host figures, not a phone's" in shown
        assert {"prefill, 128 tokens", "kit: forward of 512, not the kit's 2,000", "enforced, and held"} <= {
            phrase for line in shown.splitlines() for phrase in re.split(r"\s{3,}", line)
        }

    def test_a_phones_figures_are_called_that(self, capsys):
        """People see which phone, and the runner's peak in the unit that is named."""
        run_ = PhoneRun(
            prompt_tokens=8,
            generated_tokens=4,
            load_s=0.5,
            prefill_s=0.1,
            first_token_s=0.11,
            decode_s=0.2,
            peak_memory_bytes=512 * 10**6,
        )
        interval = median_interval([20.0, 21.0, 22.0])
        measure._print_phone(
            PhoneMeasurement(
                phone={"model": "Phone 9"},
                model="package",
                runner_sha256="0" * 64,
                program_sha256="1" * 64,
                data_sha256=None,
                thread_count=4,
                runs=(run_,),
                prefill_tokens_per_s=interval,
                decode_tokens_per_s=interval,
                time_to_first_token_s=interval,
                peak_memory_bytes=512 * 10**6,
            )
        )
        shown = capsys.readouterr().out
        assert "phone figures   model Phone 9   4 threads" in shown
        assert re.search(r"decode, 4 tokens +21 +20 \.\. 22 +tokens/s", shown)
        assert re.search(r"peak memory +512\.0 +MB", shown)

    def test_nothing_of_that_name(self):
        """What there is, is named."""
        with pytest.raises(UsageError, match=r"nothing: expected a folder, a bundle .* or one of pico-llama"):
            run("measure", "nothing")

    def test_a_bundle_without_its_weights(self, tmp_path):
        """A folder that claims to be a bundle and is none, says how to find out why."""
        (tmp_path / "submission.json").write_text("{}")
        with pytest.raises(UsageError, match="harness validate"):
            run("measure", str(tmp_path))

    def test_a_phone_needs_adb(self, tmp_path, monkeypatch):
        """Without adb: what is missing and where it comes from."""
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(UsageError, match="--device adb: adb is not installed here"):
            run("measure", str(tmp_path), "--device", "adb")

    def test_a_phone_needs_a_runner(self, tmp_path, monkeypatch):
        """With a phone attached and no runner named, which program is asked for."""
        adb = tmp_path / "adb"
        adb.write_text("#!/bin/sh\nprintf 'List of devices attached\\nA\\tdevice model:X\\n'\n")
        adb.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(UsageError, match="--runner is missing: llama_main"):
            run("measure", str(tmp_path), "--device", "adb")


class TestDevices:
    def test_json_is_a_list(self, capsys):
        """For scripts: every entry, the host first."""
        run("devices", "--json")
        assert json.loads(capsys.readouterr().out)[0]["kind"] == "host"

    def test_a_table_for_people(self, capsys):
        """A line each."""
        run("devices")
        assert capsys.readouterr().out.splitlines()[1].startswith("host")


class TestDoctor:
    def test_json_is_a_list(self, capsys, monkeypatch, tmp_path):
        """For scripts: name, state, what was found and the way out."""
        monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path / "here"))
        run("doctor", "--json")
        lines = json.loads(capsys.readouterr().out)
        assert {"name", "state", "needed", "found", "way_out"} == set(lines[0])

    def test_what_the_demo_lacks_is_an_exit_code(self, capsys, monkeypatch):
        """Exit code 3, and the line that says what."""
        monkeypatch.setattr("harness.judge.doctor._available_bytes", lambda: 1)
        assert run("doctor") == 3
        assert "MISSING" in capsys.readouterr().out
