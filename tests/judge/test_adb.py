"""The dialogue with a phone, with a stand-in for adb that writes down every word it was given."""

from __future__ import annotations

import json
import shlex
import sys

import pytest
from hypothesis import given
from hypothesis.strategies import lists, text

from harness.errors import MeasurementFailed, UsageError
from harness.judge import adb as adb_module
from harness.judge.adb import Adb, parse_devices

LISTING = """* daemon not running; starting now at tcp:5037
* daemon started successfully
List of devices attached
R5CT30ABCDE            device usb:1-1 product:dm3q model:SM_S918B device:dm3q transport_id:1
192.168.1.7:5555\tunauthorized transport_id:2
emulator-5554          offline
0123456789AB           no permissions (missing udev rules? user is in the plugdev group); see [x]

"""
HOSTILE = ("-s", "$(reboot)", "a b", "'; rm -rf /; '", "`id`", "x\ny", "ünïcode")


@pytest.fixture
def fake(tmp_path):
    """Makes an adb that answers with ``answer`` and keeps its words in ``words.jsonl``."""

    def make(answer="", code=0, seconds=0):
        log = tmp_path / "words.jsonl"
        script = tmp_path / "adb"
        script.write_text(
            f"#!{sys.executable}\nimport json, sys, time\n"
            f"open({str(log)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
            f"time.sleep({seconds})\nsys.stdout.write({answer!r})\nsys.exit({code})\n"
        )
        script.chmod(0o755)
        return Adb(executable=str(script)), lambda: [json.loads(line) for line in log.read_text().splitlines()]

    return make


class TestParseDevices:
    def test_every_state(self):
        """Ready or not, with its model where adb knows one; the daemon's remarks are no phones."""
        found = [(phone.serial, phone.state, phone.model) for phone in parse_devices(LISTING)]
        assert found == [
            ("R5CT30ABCDE", "device", "SM_S918B"),
            ("192.168.1.7:5555", "unauthorized", None),
            ("emulator-5554", "offline", None),
            ("0123456789AB", "no permissions", None),
        ]

    @given(text())
    def test_never_stumbles(self, said):
        """Whatever adb says, it is a list of phones, perhaps an empty one."""
        assert all(phone.serial and phone.state for phone in parse_devices(said))


class TestChoose:
    def test_takes_the_one_that_is_ready(self, fake):
        """With one ready phone nothing needs to be named, whatever else is attached."""
        assert fake(LISTING)[0].choose().serial == "R5CT30ABCDE"

    @pytest.mark.parametrize("serial", ["emulator-5554", "nobody", "-s"])
    def test_refuses_one_that_is_not(self, fake, serial):
        """A phone that is not ready, or not there: what is attached is said."""
        with pytest.raises(UsageError, match=r"no such phone is ready; attached: 'R5CT30ABCDE' \(device\)"):
            fake(LISTING)[0].choose(serial)

    @pytest.mark.parametrize(
        ("lines", "way_out"), [([], "switch USB debugging on"), (["A device", "B device"], "name one with --serial")]
    )
    def test_says_the_way_out(self, fake, lines, way_out):
        """None: how to attach one. Several: how to name one."""
        with pytest.raises(UsageError, match=way_out):
            fake("\n".join(["List of devices attached", *lines, ""]))[0].choose()


class TestWords:
    @pytest.mark.parametrize("word", HOSTILE)
    def test_arrive_as_they_were_given(self, fake, word):
        """A hostile serial is one argument of adb, a hostile word one word of the phone's shell."""
        adb, words = fake()
        Adb(executable=adb.executable, serial=word).shell(["echo", word])
        ((flag, serial, shell, said),) = words()
        assert (flag, serial, shell) == ("-s", word, "shell")
        assert shlex.split(said) == ["echo", word]

    @given(lists(text(min_size=1), min_size=1))
    def test_quoting_is_undone_by_a_shell(self, words):
        """What the phone's shell reads is what was meant."""
        assert shlex.split(shlex.join(words)) == words

    def test_a_file_cannot_pass_for_an_option(self, fake, tmp_path):
        """Files are pushed by their whole path."""
        adb, words = fake()
        file = tmp_path / "-p"
        file.touch()
        adb.push(file, "/data/local/tmp/x")
        assert words() == [["-s", "", "push", str(file), "/data/local/tmp/x"]]


class TestFailures:
    def test_its_own_words(self, fake):
        """The command, the exit code, and what adb said."""
        with pytest.raises(MeasurementFailed, match=r"shell ls: ended with 7: no such thing"):
            fake("no such thing\n", code=7)[0].shell(["ls"])

    def test_silence_ends(self, fake, monkeypatch):
        """A phone that hangs costs the time that it was given."""
        monkeypatch.setattr(adb_module, "QUICK_S", 0.2)
        with pytest.raises(MeasurementFailed, match="no answer within 0 s"):
            fake(seconds=30)[0].devices()

    def test_a_missing_adb(self, tmp_path):
        """An executable that is not there is an error that names it."""
        with pytest.raises(MeasurementFailed, match="cannot be run: No such file"):
            Adb(executable=str(tmp_path / "adb")).devices()

    def test_a_digest_that_is_none(self, fake):
        """What the phone answered is shown."""
        with pytest.raises(MeasurementFailed, match=r"sha256sum of '/x' on the phone said 'sha256sum: not found"):
            fake("sha256sum: not found\n")[0].sha256("/x")
