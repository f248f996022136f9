"""`harness deploy`: what was made, what was checked, what is missing, and an exit code that a script can trust."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.checkpoint.checkpoint import Checkpoint
from harness.cli import deploy
from harness.cli.app import app, run
from harness.cli.model_argument import find_model
from harness.errors import UsageError
from harness.pico import catalogue
from tests.validation.make import make

FAKE = Path(__file__).parents[1] / "deployment" / "mlc"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The command, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    if "deploy" not in {command.callback.__name__ for command in app.registered_commands}:
        deploy.register(app)
    return tmp_path


class TestDeploy:
    def test_says_what_it_made(self, here, capsys):
        """Files with sizes, checks, the definition that MLC needs, the state, the next step."""
        assert run(["deploy", "pico-qwen2", "--target", "mlc", "--quiet"]) == 0
        said = capsys.readouterr().out
        for part in ("params_shard_0.bin", "bit for bit", "needs      mlc_model.py", "has not read it here", "next"):
            assert part in said
        assert (here / "packages" / "pico-qwen2-mlc" / "tensor-cache.json").is_file()

    def test_json_is_one_document(self, capsys, tiny_checkpoints):
        """For scripts, with the options that were typed in the manifest, and the deliverables' record."""
        options = ["--context", "256", "--prefill-chunk", "32", "--dtype", "float32", "--weight-layout", "transposed"]
        checkpoint = str(tiny_checkpoints["llama"])
        command = ["deploy", checkpoint, "--target", "mlc", *options, "--deliverables", "final", "--json", "--quiet"]
        assert run(command) == 0
        found = json.loads(capsys.readouterr().out)
        manifest = found["manifest"]
        assert (manifest["context_tokens"], manifest["prefill_chunk_tokens"]) == (256, 32)
        assert (manifest["quantization"], manifest["weight_layout"]) == ("q0f32", "transposed")
        assert found["size_bytes"] == sum(file["size_bytes"] for file in manifest["files"])
        assert found["deliverables"]["checkpoint_digest"] == manifest["checkpoint_digest"]
        assert Path("final/bundle_weight.sh").is_file()

    def test_check_only(self, capsys, tiny_checkpoints):
        """Somebody's package against a model: exit code 0 if it is one of it, 4 and the findings if not."""
        own, other = str(tiny_checkpoints["llama"]), str(tiny_checkpoints["phi"])
        assert run(["deploy", own, "--target", "mlc", "--out", "package", "--quiet"]) == 0
        assert run(["deploy", own, "--target", "mlc", "--check", "package", "--quiet"]) == 0
        assert "is a package of" in capsys.readouterr().out
        assert run(["deploy", other, "--target", "mlc", "--check", "package", "--quiet", "--json"]) == 4
        assert {finding["rule"] for finding in json.loads(capsys.readouterr().out)} >= {"mlc.names", "mlc.settings"}

    def test_with_the_real_tool(self, here, capsys, monkeypatch, tiny_checkpoints):
        """mlc_llm is run beside, its estimate shown, and the package's manifest says that it was tried."""
        checkpoint = str(tiny_checkpoints["llama"])
        assert run(["deploy", checkpoint, "--target", "mlc", "--out", "made", "--quiet"]) == 0
        script = here / "bin" / "mlc_llm"
        script.parent.mkdir()
        script.write_text(f"#!{sys.executable}\n" + (FAKE / "fake_mlc_llm.py").read_text())
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
        monkeypatch.setenv("FAKE_DIALOGUE", str(FAKE / "dialogue.json"))
        monkeypatch.setenv("FAKE_PACKAGE", str(here / "made"))
        capsys.readouterr()
        assert run(["deploy", checkpoint, "--target", "mlc", "--out", "again", "--mlc-llm", "--quiet"]) == 0
        said = capsys.readouterr().out
        assert "gen_config, convert_weight, compile" in said
        assert "16387.7 MB without the KV cache" in said
        assert (
            "both packages hold the same weights" in json.loads((here / "again" / "package.json").read_text())["state"]
        )
        assert (here / "again.mlc_llm" / "run.json").is_file()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--target", "transformers", "--mlc-llm"], "allowed with --target mlc only"),
            (["--target", "transformers", "--check", "x"], "only MLC packages"),
            (["--target", "mlc", "--apk", "a.apk"], "--deliverables DIR"),
            (["--target", "mlc", "--context", "8"], "--context: value error, prefill_chunk_size must be at most"),
            (["--target", "mlc", "--context", "0"], "--context: input should be greater than 0"),
            (["--target", "executorch", "--prefill-chunk", "0"], "--prefill-chunk: input should be greater than 0"),
        ],
    )
    def test_what_does_not_go_together(self, capsys, options, message):
        """Said before anything is made."""
        assert run(["deploy", "pico-llama", *options, "--quiet"]) == 2
        assert message in capsys.readouterr().err
        assert not Path("packages").exists()


class TestFindModel:
    def test_a_pico_name_and_a_folder(self, tiny_checkpoints):
        """Named by itself, or by its folder."""
        assert find_model("pico-phi").checkpoint == catalogue.path("pico-phi")
        assert find_model(str(tiny_checkpoints["phi"])).name == "phi"

    def test_nothing_of_that_name(self):
        """Says what there is."""
        with pytest.raises(UsageError, match="pico-llama, pico-qwen2, pico-phi"):
            find_model("pico-lama")

    def test_of_a_bundle(self, here):
        """Its final checkpoint by digest, wherever that stands among the named weights, and its results file."""
        made = make(here)
        found = find_model(str(made.path), name="qwen2", weights=made.weights)
        record = next(model for model in made.read("submission.json")["models"] if model["name"] == "qwen2")
        final = next(one for one in record["checkpoints"] if one["role"] == "final")
        digest = final["checkpoint"]["checkpoint_digest"]
        assert Checkpoint.of(found.checkpoint).digest == digest
        assert found.results_csv == (made.path / "Results.csv").read_text()
        with pytest.raises(UsageError, match="it has llama, qwen2, phi; name one: --model NAME"):
            find_model(str(made.path), weights=made.weights)
        with pytest.raises(UsageError, match="only references weights; name their folder: --weights DIR"):
            find_model(str(made.path), name="phi", weights=here / "elsewhere")

    def test_a_bundle_that_is_none(self, here):
        """A submission.json that is no manifest names the command that explains it."""
        (here / "submission.json").write_text("{}")
        with pytest.raises(UsageError, match="harness validate"):
            find_model(str(here))


def test_help_imports_no_torch():
    """What only looks never pays for torch."""
    code = (
        "import sys; from harness.cli import deploy; from harness.cli.app import app, run; deploy.register(app); "
        "run(['deploy', '--help']); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
