"""mlc_llm is driven as its command line wants it, and what it says is kept; a fake plays it by a written dialogue.

The dialogue is put together from lines that mlc_llm is known to print; no mlc_llm was here to record.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from harness.containment import Limits
from harness.deployment.mlc.driver import Drive, MlcRun, drive
from harness.deployment.mlc.export import export_package
from harness.deployment.mlc.memory import memory_in
from harness.deployment.mlc.options import MlcOptions
from harness.deployment.mlc.tool import MlcTool, find_tool, skew_in
from harness.errors import EngineFailed, ToolchainFailed, UsageError
from tests.deployment.mlc.conftest import cut

HERE = Path(__file__).parent
FAKE = HERE / "fake_mlc_llm.py"
LIMITS = Limits(time_s=60, memory_bytes=2 << 30)
TOOL = MlcTool(command=(sys.executable, str(FAKE)), python=sys.executable, versions={"apache-tvm": "0.27.0.post1"})


def ignore(event):
    """Nobody watches."""


@pytest.fixture
def speak(tmp_path, monkeypatch):
    """Prepare the fake: its dialogue, with steps changed, and the package that it pretends to write."""

    def prepare(package, **changes):
        dialogue = json.loads((HERE / "dialogue.json").read_text()) | changes
        (tmp_path / "dialogue.json").write_text(json.dumps(dialogue))
        monkeypatch.setenv("FAKE_DIALOGUE", str(tmp_path / "dialogue.json"))
        monkeypatch.setenv("FAKE_PACKAGE", str(package))

    return prepare


def work(checkpoint, out, **changes):
    settings = {"tool": TOOL, "options": MlcOptions(), "limits": LIMITS} | changes
    return Drive(checkpoint=checkpoint, out=out, **settings)


class TestDrive:
    def test_runs_the_steps_and_keeps_what_they_say(self, tmp_path, tiny_checkpoint, speak):
        """Configuration, weights, library: run in order, logged whole, the estimate read, the package checked."""
        export_package(tiny_checkpoint, tmp_path / "made")
        speak(tmp_path / "made")
        run = drive(work(tiny_checkpoint, tmp_path / "out"), ignore)
        assert [step.name for step in run.steps] == ["gen_config", "convert_weight", "compile"]
        assert run == MlcRun.read(tmp_path / "out" / "run.json")
        assert run.findings == ()
        assert (tmp_path / "out" / run.library).read_bytes() == b"library"
        assert (run.memory.parameters_bytes, run.memory.temporary_bytes) == (round(15316.51 * 2**20), 312 * 2**20)
        log = (tmp_path / "out" / "convert_weight.log").read_text()
        assert "Weight conversion" in log  # printed
        assert "Loading HF parameters" in log  # logged

    def test_asks_for_the_winners_settings(self, tmp_path, tiny_checkpoints, speak):
        """One user, chunks of 16, q0f16, the model's context; and a template with the ids of this tokenizer."""
        export_package(tiny_checkpoints["llama"], tmp_path / "made")
        speak(tmp_path / "made")
        run = drive(work(tiny_checkpoints["llama"], tmp_path / "out"), ignore)
        config = json.loads((tmp_path / "out" / "package" / "mlc-chat-config.json").read_text())
        asked = config["asked"]
        assert asked["--quantization"] == "q0f16"
        assert (asked["--max-batch-size"], asked["--prefill-chunk-size"]) == ("1", "16")
        assert (asked["--context-window-size"], asked["--conv-template"]) == ("512", "LM")
        assert config["conv_template"]["stop_token_ids"] == [2]
        assert "'LM' of mlc_llm replaced by 'pico'" in run.notes[0]

    def test_rotation_reaches_it(self, tmp_path, tiny_checkpoints, speak):
        """The configuration that mlc_llm sees has the rotation in the fields that it reads."""
        own = json.loads((tiny_checkpoints["phi"] / "config.json").read_text())
        assert "rope_theta" not in own  # transformers 5 writes it elsewhere
        export_package(tiny_checkpoints["phi"], tmp_path / "made")
        speak(tmp_path / "made")
        drive(work(tiny_checkpoints["phi"], tmp_path / "out"), ignore)
        seen = json.loads((tmp_path / "out" / "package" / "seen.json").read_text())
        assert seen["rope_theta"] == own["rope_parameters"]["rope_theta"]
        assert seen["partial_rotary_factor"] == own["rope_parameters"]["partial_rotary_factor"]

    def test_a_step_that_fails_is_explained(self, tmp_path, tiny_checkpoints, speak):
        """Step, exit code, the skew behind the symptom, the versions, the log's end; later steps are not run."""
        said = "AttributeError: module 'tvm.relax' has no attribute 'Constant'"
        speak(tmp_path, convert_weight={"lines": ["Traceback", said], "exit": 1})
        export_package(tiny_checkpoints["llama"], tmp_path / "made")
        os.environ["FAKE_PACKAGE"] = str(tmp_path / "made")
        with pytest.raises(EngineFailed) as caught:
            drive(work(tiny_checkpoints["llama"], tmp_path / "out"), ignore)
        message = str(caught.value)
        assert "convert_weight: it ended with 1; tvm is newer than this mlc_llm" in message
        assert "apache-tvm 0.27.0.post1" in message
        assert said in message
        assert not (tmp_path / "out" / "compile.log").exists()

    def test_other_weights_than_the_checkpoints(self, tmp_path, tiny_checkpoints, speak):
        """A conversion that came out otherwise is found, not trusted."""
        export_package(tiny_checkpoints["llama"], tmp_path / "made")
        path = tmp_path / "made" / "params_shard_0.bin"
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
        speak(tmp_path / "made")
        run = drive(work(tiny_checkpoints["llama"], tmp_path / "out"), ignore)
        assert {finding.rule for finding in run.findings} == {"mlc.files", "mlc.values"}

    def test_a_definition_of_our_own_is_run_in_its_place(self, tmp_path, tiny_checkpoints, speak, monkeypatch):
        """For a shape that MLC lacks, the command is the definition that registers it."""
        source = cut(tiny_checkpoints["llama"], tmp_path / "cut", "ranks")
        export_package(source, tmp_path / "made")
        speak(tmp_path / "made")
        stand_in = f"import runpy, sys; sys.argv[0] = {str(FAKE)!r}; runpy.run_path({str(FAKE)!r})"
        monkeypatch.setattr("harness.deployment.mlc.driver.definition_source", lambda _: stand_in)
        run = drive(work(source, tmp_path / "out"), ignore)
        assert run.findings == ()
        assert all(step.command[1].endswith("mlc_model.py") for step in run.steps)
        assert "edge_structured" in run.steps[0].command

    def test_package_is_asked_for_the_library(self, tmp_path, tiny_checkpoints, speak):
        """``mlc_llm package`` gets the compiled library under the name that its symbols begin with."""
        export_package(tiny_checkpoints["llama"], tmp_path / "made")
        speak(tmp_path / "made")
        run = drive(work(tiny_checkpoints["llama"], tmp_path / "out", source_dir=tmp_path), ignore)
        (model,) = json.loads((tmp_path / "out" / "dist" / "asked.json").read_text())["model_list"]
        assert run.steps[-1].name == "package"
        assert model["model_lib"] == "llama_q0f16"
        compiled = next(step for step in run.steps if step.name == "compile")
        assert "llama_q0f16_" in compiled.command

    def test_no_transposed_weights(self, tmp_path, tiny_checkpoints):
        """mlc_llm does not write them, and is not asked to."""
        options = MlcOptions(weight_layout="transposed")
        with pytest.raises(UsageError, match="transposed"):
            drive(work(tiny_checkpoints["llama"], tmp_path / "out", options=options), ignore)


class TestMemoryIn:
    @pytest.mark.parametrize("colon", [":", "::"])
    def test_reads_the_estimate(self, colon):
        """In bytes, with or without the cache's line, however many colons."""
        line = f"Total memory usage without KV cache{colon} 3.50 MB (Parameters: 2.25 MB. Temporary buffer: 1.25 MB)"
        found = memory_in(line)
        assert (found.total_bytes, found.parameters_bytes, found.temporary_bytes) == (3670016, 2359296, 1310720)
        assert found.cache_bytes_per_token is None

    def test_none_where_none_is_said(self):
        """Nothing is made up."""
        assert memory_in("Compilation complete!") is None


class TestFindTool:
    def test_by_its_interpreter(self, tmp_path):
        """Its versions are asked of it."""
        found = find_tool(Path(sys.executable), tmp_path / "work")
        assert found.command[1:] == ("-m", "mlc_llm")
        assert found.versions["python"] == ".".join(map(str, sys.version_info[:3]))

    def test_on_the_search_path(self, tmp_path, monkeypatch):
        """A script names its interpreter in its first line."""
        script = tmp_path / "mlc_llm"
        script.write_text(f"#!{sys.executable}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(tmp_path))
        found = find_tool(None, tmp_path / "work")
        assert found.command == (str(script),)
        assert found.python == sys.executable

    def test_none(self, tmp_path, monkeypatch):
        """Says how to name one, and that the package does not need it."""
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ToolchainFailed, match=r"--mlc-python PATH.*complete without it"):
            find_tool(None, tmp_path / "work")
        with pytest.raises(ToolchainFailed, match="no such file"):
            find_tool(tmp_path / "python", tmp_path / "work")

    def test_a_definition_needs_an_interpreter(self, tmp_path):
        """A script that does not say which Python it is for cannot run one."""
        tool = MlcTool(command=("mlc_llm",), python=None)
        assert tool.for_definition(None) == ("mlc_llm",)
        with pytest.raises(ToolchainFailed, match="--mlc-python"):
            tool.for_definition(tmp_path / "mlc_model.py")


class TestSkew:
    @pytest.mark.parametrize(
        ("line", "cause"),
        [
            ("module 'tvm.relax' has no attribute 'Constant'", "newer"),
            ("ImportError: cannot import name 'ndk' from 'tvm.contrib'", "older"),
            ("OSError: libtvm.so: undefined symbol: _ZN3tvm3ffi4json9Stringify", "tvm-ffi"),
            ("Cannot find global function mlc.tokenizers.DetectTokenizerInfo", "libmlc_llm"),
        ],
    )
    def test_known_symptoms(self, line, cause):
        """What was seen once is named the next time."""
        assert cause in skew_in(f"some text\n{line}\n").cause

    def test_an_unknown_one(self):
        """Is not explained away."""
        assert skew_in("Segmentation fault") is None
