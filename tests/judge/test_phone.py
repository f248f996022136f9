"""The protocol on a phone: a stand-in for adb runs the very scripts in a folder of this machine."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis.strategies import dictionaries, integers, none, sampled_from, text

from harness.checkpoint.checkpoint import sha256_of
from harness.errors import MeasurementFailed
from harness.judge import phone as phone_module
from harness.judge.adb import Adb
from harness.judge.phone import PhoneProtocol, measure_on_phone, parse_run
from harness.progress import silent

ACCOUNT = {
    "prompt_tokens": 8,
    "generated_tokens": 4,
    "model_load_start_ms": 1000,
    "model_load_end_ms": 1500,
    "inference_start_ms": 1500,
    "prompt_eval_end_ms": 1600,
    "first_token_ms": 1610,
    "inference_end_ms": 1800,
    "aggregate_sampling_time_ms": 3,
    "SCALING_FACTOR_UNITS_PER_SECOND": 1000,
}
PRINTED = f"I 00:00 loading\nPyTorchObserver {json.dumps(ACCOUNT)}\nVmHWM:\t  204800 kB\n"
SAID = f"PyTorchObserver {json.dumps(ACCOUNT)}"
PROTOCOL = PhoneProtocol(prefill_tokens=8, decode_tokens=4, repeats=3, warm_up=1, threads=2)
ADB = """#!{python}
import pathlib, shutil, subprocess, sys
words = sys.argv[1:]
assert words[:2] == ["-s", "the phone's serial"], words
verb, *rest = words[2:]
if verb == "push":
    data = pathlib.Path(rest[0]).read_bytes()
    pathlib.Path(rest[1]).write_bytes(data[{cut}:])
elif rest[0].startswith("getprop"):
    print({{"ro.product.model": "Phone 9"}}.get(rest[0].split()[1], ""))
else:
    sys.exit(subprocess.run(["sh", "-c", rest[0]]).returncode)
"""
RUNNER = """#!{python}
import pathlib, sys, time
if "--help" in sys.argv:
    print("-data_paths (Data files for the model.)")
    sys.exit(1)
flags = dict(word[2:].split("=", 1) for word in sys.argv[1:])
for name in ("model_path", "tokenizer_path", "data_paths"):
    assert pathlib.Path(flags[name]).is_file(), name
assert len(flags["prompt"].split()) == 8 and flags["seq_len"] == "12", flags
assert (flags["temperature"], flags["cpu_threads"]) == ("0", "2"), flags
open({log!r}, "a").write("run\\n")
time.sleep(0.2)
print({said!r})
sys.exit({code})
"""


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """A package, a runner and an adb; ``cut`` damages what is pushed, ``code`` and ``said`` are the runner's."""
    phone = tmp_path / "the phone's; disk"
    monkeypatch.setattr(phone_module, "FOLDER", str(phone))

    def make(cut=0, code=0, said=SAID):
        package = tmp_path / "package"
        package.mkdir()
        for name in ("model.pte", "model.ptd", "tokenizer.json"):
            (package / name).write_text(name)
        log, runner, adb = tmp_path / "runs", tmp_path / "runner", tmp_path / "adb"
        runner.write_text(RUNNER.format(python=sys.executable, log=str(log), said=said, code=code))
        adb.write_text(ADB.format(python=sys.executable, cut=cut))
        adb.chmod(0o755)
        return Adb(executable=str(adb), serial="the phone's serial"), package, runner, log, phone

    return make


class TestMeasureOnPhone:
    def test_from_push_to_figures(self, stage):
        """Pushed whole, run as often as asked, each in a process of its own, and nothing is left on the phone."""
        adb, package, runner, log, phone = stage()
        found = measure_on_phone(adb, package, runner, PROTOCOL, silent)
        assert log.read_text().count("run") == PROTOCOL.warm_up + PROTOCOL.repeats
        assert len(found.runs) == PROTOCOL.repeats
        assert found.data_sha256 == sha256_of(package / "model.ptd")
        assert found.runner_sha256 == sha256_of(runner)
        assert found.prefill_tokens_per_s.median == pytest.approx(8 / 0.1)
        assert found.decode_tokens_per_s.median == pytest.approx(4 / 0.2)
        assert found.peak_memory_bytes > 1 << 20
        assert found.phone["model"] == "Phone 9"
        assert "serial" not in found.model_dump_json()
        assert list(phone.iterdir()) == []

    def test_what_arrives_damaged_is_not_timed(self, stage):
        """The phone's own digest of the weights decides."""
        adb, package, runner, log, phone = stage(cut=1)
        with pytest.raises(MeasurementFailed, match="arrived with SHA-256"):
            measure_on_phone(adb, package, runner, PROTOCOL, silent)
        assert not log.exists()
        assert list(phone.iterdir()) == []

    def test_a_runner_that_fails_has_no_figure(self, stage):
        """Its exit code and its last words are told; the phone is cleaned all the same."""
        adb, package, runner, _, phone = stage(code=5, said="E 00:00 Missing operator: aten::cat.out")
        with pytest.raises(MeasurementFailed, match=r"ended with 5: .*Missing operator"):
            measure_on_phone(adb, package, runner, PROTOCOL, silent)
        assert list(phone.iterdir()) == []

    def test_says_what_a_phone_needs(self, stage, tmp_path):
        """Without a runner: which file, and where it comes from."""
        adb, package, _, _, _ = stage()
        with pytest.raises(MeasurementFailed, match=r"needs llama_main; .*examples/models/llama"):
            measure_on_phone(adb, package, tmp_path / "nothing", PROTOCOL, silent)


class TestParseRun:
    def test_reads_the_runners_account(self):
        """Times are differences of its clock, memory is the last high-water mark that was seen."""
        found = parse_run(PRINTED)
        assert (found.load_s, found.prefill_s, found.first_token_s, found.decode_s) == (0.5, 0.1, 0.11, 0.2)
        assert (found.prompt_tokens, found.generated_tokens) == (8, 4)
        assert found.peak_memory_bytes == 204800 * 1024

    @pytest.mark.parametrize("lacking", ["PyTorchObserver", "VmHWM"])
    def test_half_an_account_is_none(self, lacking):
        """What is missing is named."""
        with pytest.raises(MeasurementFailed, match=f"no {lacking}"):
            parse_run(PRINTED.replace(lacking, "else"))

    @given(changes=dictionaries(sampled_from(sorted(ACCOUNT)), integers(-(2**40), 2**40) | none() | text()))
    def test_never_believes_what_cannot_be(self, changes):
        """Any account gives figures above zero, or an error of ours."""
        try:
            found = parse_run(PRINTED.replace(json.dumps(ACCOUNT), json.dumps({**ACCOUNT, **changes})))
        except MeasurementFailed:
            return
        assert min(found.prefill_s, found.decode_s, found.first_token_s, found.prompt_tokens) > 0
