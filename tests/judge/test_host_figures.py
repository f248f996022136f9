"""All figures of one model on this machine: which runtime, why, and what it is called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.containment import Limits
from harness.deployment.manifest import ExecutorchManifest, packaged_files
from harness.deployment.transformers_package import package
from harness.errors import CheckpointCorrupt, MeasurementFailed, UsageError
from harness.judge import host_figures
from harness.judge.host_figures import HostPlan, choose_runtime, load_of
from harness.judge.measure import Surroundings, measure_performance
from harness.judge.subject import of_checkpoint, of_folder, of_package
from harness.rules.edition import MeasurementRule

RULE = MeasurementRule(memory_limit_bytes=1, prefill_tokens=16, decode_tokens=4, repeats=3)
EDGE_ABSENT = "the edge runtime is not installed here"


def surroundings_in(folder):
    limits = Limits(time_s=120, memory_bytes=4 << 30)
    return Surroundings(work_dir=folder / "work", limits=limits, on_event=lambda _event: None, threads=1)


@pytest.fixture
def edge_package(tmp_path):
    """A folder that says that it is an ExecuTorch package; nothing here loads it."""
    folder = tmp_path / "edge"
    folder.mkdir()
    for name in ("model.pte", "model.ptd", "tokenizer.json"):
        (folder / name).write_text(name)
    ExecutorchManifest(
        executorch_version="1.5.1",
        torch_version="2.13.0",
        architecture="LlamaForCausalLM",
        checkpoint_digest="0" * 64,
        dtype="float16",
        parameter_count=10,
        weights_bytes=20,
        cache_bytes=40,
        vocabulary_count=261,
        context_tokens=128,
        prefill_chunk=8,
        stop_ids=(2,),
        chat_template=False,
        program="model.pte",
        data="model.ptd",
        files=packaged_files(folder),
    ).write(folder / "package.json")
    return folder


class TestChooseRuntime:
    def test_a_package_runs_on_the_runtime_that_it_is_for(self, edge_package, monkeypatch):
        """And on no other."""
        monkeypatch.setattr(host_figures, "edge_absence", lambda: None)
        subject = of_folder(edge_package)
        assert choose_runtime(subject, None).runtime == choose_runtime(subject, "executorch").runtime == "executorch"
        with pytest.raises(UsageError, match="is a package for executorch; transformers loads the checkpoint"):
            choose_runtime(subject, "transformers")

    def test_without_the_edge_runtime(self, edge_package, tiny_checkpoints, monkeypatch):
        """A package cannot be measured, and a checkpoint's record says why transformers ran it."""
        monkeypatch.setattr(host_figures, "edge_absence", lambda: EDGE_ABSENT)
        with pytest.raises(UsageError, match=EDGE_ABSENT):
            choose_runtime(of_folder(edge_package), None)
        choice = choose_runtime(of_checkpoint(tiny_checkpoints["llama"]), None)
        assert choice.runtime == "transformers"
        assert EDGE_ABSENT in choice.why

    def test_a_checkpoint_needs_a_package_for_the_edge(self, tiny_checkpoints):
        """Asked for the edge runtime, the way to a package is said."""
        with pytest.raises(UsageError, match="harness deploy MODEL --target executorch"):
            choose_runtime(of_checkpoint(tiny_checkpoints["llama"]), "executorch")


class TestSubject:
    def test_a_changed_package_is_none(self, edge_package):
        """Every file is held against the manifest before anything is timed."""
        (edge_package / "model.ptd").write_text("other")
        with pytest.raises(CheckpointCorrupt, match=r"model\.ptd"):
            of_folder(edge_package)

    def test_packages_name_their_checkpoint(self, tmp_path, tiny_checkpoints):
        """What is timed bears the digest of the checkpoint that it is, and one of its own."""
        checkpoint = of_checkpoint(tiny_checkpoints["llama"])
        package(tiny_checkpoints["llama"], tmp_path / "package")
        found = of_package(tmp_path / "package")
        assert found.checkpoint_digest == checkpoint.checkpoint_digest == checkpoint.weights_digest
        assert found.weights_digest != checkpoint.weights_digest
        assert found.edge is None

    def test_a_package_of_another_checkpoint(self, tmp_path, tiny_checkpoints):
        """A configuration is taken from the checkpoint that the package was made of, and from no other."""
        package(tiny_checkpoints["llama"], tmp_path / "package")
        assert of_folder(tmp_path / "package", tiny_checkpoints["llama"]).config["model_type"] == "llama"
        with pytest.raises(UsageError, match="was made of checkpoint"):
            of_folder(tmp_path / "package", tiny_checkpoints["phi"])

    def test_neither_nor(self, tmp_path):
        """A folder that is nothing says what it could have been."""
        with pytest.raises(UsageError, match=r"neither a checkpoint .* nor a package"):
            of_folder(tmp_path)

    def test_a_package_for_another_runtime(self, tmp_path):
        """It is named, with those that run here."""
        (tmp_path / "package.json").write_text('{"format": "mlc"}')
        with pytest.raises(UsageError, match="a package for 'mlc'; packages that run here: executorch, transformers"):
            of_folder(tmp_path)


class TestLoadOf:
    def test_a_package_says_how_it_runs(self, edge_package):
        """Precision, context and chunk are the package's."""
        load = load_of(of_folder(edge_package), "executorch", HostPlan(rule=RULE, precision="float32"))
        assert (load.dtype, load.context_tokens, load.chunk_tokens) == ("float16", 128, 8)

    def test_a_checkpoint_runs_as_the_protocol_says(self, tiny_checkpoints):
        """The cache holds prompt and answer, the prompt goes through at once, the precision is the stored one."""
        subject = of_checkpoint(tiny_checkpoints["llama"])
        load = load_of(subject, "transformers", HostPlan(rule=RULE))
        assert (load.dtype, load.stored_dtype, load.context_tokens, load.chunk_tokens) == ("float16", "float16", 20, 16)
        assert load_of(subject, "transformers", HostPlan(rule=RULE, precision="float32")).dtype == "float32"


class TestMeasureOnHost:
    def test_a_broken_cap_leaves_nothing(self, tmp_path, tiny_checkpoints):
        """Both numbers are said, and no result file is there."""
        with pytest.raises(MeasurementFailed, match=r"(allowed|under a cap of) 60\.0 MB"):
            measure_performance(
                tiny_checkpoints["llama"],
                rule=RULE,
                surroundings=surroundings_in(tmp_path),
                memory_limit_bytes=60 * 10**6,
            )
        assert not (tmp_path / "work" / "result.json").exists()


def test_the_edge_process_is_slim():
    """What measures the edge runtime imports no transformers, or the model's memory would be another's."""
    pytest.importorskip("executorch", reason="the extra `edge` is not installed")
    code = (
        "import sys; from harness.judge import performance, worker; from harness.judge.requests import FloorRequest; "
        "performance.measure_floor(FloorRequest(runtime='executorch', checkpoint='.', threads=1)); "
        "sys.exit(bool({'transformers', 'datasets', 'accelerate', 'pandas'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], check=False, cwd=Path("/"), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
