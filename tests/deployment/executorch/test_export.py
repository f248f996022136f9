"""Packages of ExecuTorch: whole, of the checkpoint's weights, and computing what the checkpoint computes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from harness.checkpoint.checkpoint import Checkpoint, read_described_config
from harness.checkpoint.dtypes import from_float32, to_float32
from harness.checkpoint.reader import open_checkpoint
from harness.containment import Limits
from harness.deployment.executorch import installed
from harness.deployment.executorch.check import ExecutorchCheckRequest, check_executorch
from harness.deployment.executorch.export import export_package
from harness.deployment.executorch.runner import open_runner
from harness.deployment.manifest import MANIFEST_NAME, ExecutorchManifest, verify
from harness.errors import CheckpointCorrupt, ToolchainFailed, UsageError
from harness.methods.rewriting import Rewriting, rewrite
from harness.progress import silent
from harness.surgery.shape import config_with_exits
from tests.deployment.executorch.conftest import CHUNK, CONTEXT_TOKENS, options

PICO = Path(__file__).parents[3] / "harness" / "pico" / "models"
CASES = [
    ("llama", "dense", "float16"),
    ("llama", "dense", "float32"),
    ("llama", "uniform and vocabulary", "float16"),
    ("qwen2", "per layer, factorised and fused", "float16"),
    ("qwen2", "per layer", "float32"),
    ("phi", "dense", "float16"),
    ("phi", "dropped layer, factorised", "float32"),
]


def compared(checkpoint, package):
    """What the check's worker finds, in this process."""
    from harness.deployment.executorch.check_worker import compare

    request = ExecutorchCheckRequest(
        result="", checkpoint=str(checkpoint), package=str(package), prompt_tokens=40, new_tokens=64
    )
    return compare(request, silent)


def text_of_our_runner(package, prompt, count=16):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(package)
    runner = open_runner(package, 1)
    answer = [runner.prefill(tokenizer(prompt, add_special_tokens=False).input_ids)]
    while len(answer) < count:
        answer.append(runner.step(answer[-1]))
    return tokenizer.decode(answer)


def text_of_their_runner(package, prompt, count=16):
    from executorch.extension.llm.runner._llm_runner import GenerationConfig, TextLLMRunner

    files = (package / name for name in ("model.pte", "tokenizer.json", "model.ptd"))
    runner, pieces = TextLLMRunner(*map(str, files)), []
    chosen = GenerationConfig(echo=False, max_new_tokens=count, temperature=0.0, num_bos=0, num_eos=0)
    runner.generate(prompt, chosen, pieces.append)
    return "".join(pieces)


class TestExport:
    @pytest.mark.parametrize(("architecture", "cut", "dtype"), CASES)
    def test_computes_what_the_checkpoint_computes(self, checkpoint_of, package_of, architecture, cut, dtype):
        """Logits within the bound of the dtype and the same 64 greedy tokens but for ties, whatever was cut."""
        found = compared(checkpoint_of(architecture, cut), package_of(architecture, cut, dtype))
        assert found.fault is None
        assert (found.dtype, found.new_token_count) == (dtype, 64)
        assert found.position_count == 64 + 6

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of executorch's own modules
    @pytest.mark.parametrize(
        ("architecture", "cut"),
        [("llama", "dense"), ("qwen2", "per layer, factorised and fused"), ("phi", "dropped layer, factorised")],
    )
    def test_passes_that_are_left_out_would_do_nothing(
        self, checkpoint_of, package_of, tmp_path, monkeypatch, architecture, cut
    ):
        """The program has the same bytes with all of XNNPACK's passes, and decomposed as executorch does it."""
        pytest.importorskip("executorch")
        from executorch.backends.xnnpack._passes import XNNPACKPassManager
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

        from harness.deployment.executorch import lowering

        ours = (package_of(architecture, cut) / "model.pte").read_bytes()
        monkeypatch.setattr(lowering, "_Passes", XNNPACKPassManager)
        monkeypatch.setattr(lowering, "_Partitioner", XnnpackPartitioner)
        export_package(checkpoint_of(architecture, cut), tmp_path / "package", options())
        assert (tmp_path / "package" / "model.pte").read_bytes() == ours

    @pytest.mark.slow
    @pytest.mark.parametrize("dtype", ["float16", "float32"])
    @pytest.mark.parametrize("name", ["pico-llama", "pico-qwen2", "pico-phi"])
    def test_trained_models(self, tmp_path, name, dtype):
        """The trained pico models likewise, through the check's own process."""
        pytest.importorskip("executorch")
        export_package(PICO / name, tmp_path / name, options(dtype=dtype))
        found = check_executorch(
            PICO / name,
            tmp_path / name,
            work_dir=tmp_path / "work",
            limits=Limits(time_s=300, memory_bytes=4 << 30),
            on_event=lambda _: None,
        )
        assert found.fault is None

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of executorch's own modules
    def test_executorch_s_own_runner(self, tmp_path):
        """The runner of language models that executorch ships, Android's too, answers as ours does."""
        pytest.importorskip("executorch")
        folder, prompt = tmp_path / "package", "Anna has three apples and"
        export_package(PICO / "pico-llama", folder, options())
        assert text_of_their_runner(folder, prompt) == text_of_our_runner(folder, prompt)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of executorch's own reader of data files
    @pytest.mark.parametrize(("architecture", "dtype"), [("llama", "float16"), ("llama", "float32")])
    def test_the_data_file_holds_the_checkpoint_s_matrices(self, checkpoint_of, package_of, architecture, dtype):
        """Every matrix of the checkpoint, rounded to the package's dtype and nothing else, and the program none."""
        from executorch.exir._serialize._cord import Cord
        from executorch.extension.flat_tensor.serialize.serialize import FlatTensorSerializer

        package, stored = package_of(architecture, dtype=dtype), {"float16": "F16", "float32": "F32"}[dtype]
        payload = FlatTensorSerializer().deserialize(Cord((package / "model.ptd").read_bytes()))
        with open_checkpoint(checkpoint_of(architecture)) as reader:
            matrices = [entry for shard in reader.layout.shards for entry in shard.tensors if len(entry.shape) == 2]
            expected = {
                from_float32(to_float32(reader.read(entry.name), entry.dtype), stored).tobytes() for entry in matrices
            }
        assert {bytes(buffer) for buffer in payload.buffers} == expected
        assert not any(matrix in (package / "model.pte").read_bytes() for matrix in expected)

    def test_a_tied_head_is_stored_once(self, package_of):
        """The embedding and the head that is tied to it have two keys and one place."""
        manifest = verify(ExecutorchManifest, package_of("qwen2", "per layer", "float32"))
        data = next(file for file in manifest.files if file.name == manifest.data)
        assert data.size_bytes < manifest.weights_bytes + 64 * 261

    def test_says_what_a_runtime_must_know(self, checkpoint_of, package_of):
        """The manifest names the checkpoint, dtype, context, chunk and stop ids, and every file."""
        manifest = verify(ExecutorchManifest, package_of("llama"))
        assert manifest.checkpoint_digest == Checkpoint.of(checkpoint_of("llama")).digest
        assert (manifest.context_tokens, manifest.prefill_chunk, manifest.stop_ids) == (CONTEXT_TOKENS, CHUNK, (2,))
        assert manifest.cache_bytes == 2 * 2 * 2 * 16 * CONTEXT_TOKENS * 2  # keys and values, layers, heads, size, FP16
        assert manifest.weights_bytes == 2 * manifest.parameter_count
        assert {"model.pte", "model.ptd", "tokenizer.json"} <= {file.name for file in manifest.files}

    @pytest.mark.parametrize(("architecture", "cut"), [("llama", "dense"), ("qwen2", "per layer")])
    def test_brings_what_describes_it(self, checkpoint_of, package_of, architecture, cut):
        """Its shapes are the checkpoint's, structure included, so that its memory can be predicted without that."""
        assert read_described_config(package_of(architecture, cut, "float32")) == read_described_config(
            checkpoint_of(architecture, cut)
        )

    def test_more_context_than_the_model_knows(self, checkpoint_of, tmp_path):
        """Asked for more than the model's positions, nothing is written."""
        pytest.importorskip("executorch")
        with pytest.raises(UsageError, match="at most 512, the model's max_position_embeddings, found 513"):
            export_package(checkpoint_of("llama"), tmp_path / "package", options(context_tokens=513))
        assert not list(tmp_path.iterdir())

    def test_a_vote_of_exits(self, checkpoint_of, tmp_path):
        """A program computes the last exit alone, so a model whose exits vote is not packaged as something else."""
        pytest.importorskip("executorch")
        source = checkpoint_of("llama")
        exits = range(read_described_config(source)["num_hidden_layers"])
        voting = rewrite(
            source, tmp_path / "v", Rewriting(config=config_with_exits(read_described_config(source), exits))
        )
        with pytest.raises(UsageError, match="before its exits voted"):
            export_package(voting, tmp_path / "package", options())
        assert not (tmp_path / "package").exists()

    def test_a_failed_export_leaves_the_old_package(self, checkpoint_of, package_of, tmp_path, monkeypatch):
        """An export that fails on its way neither removes what stood there nor leaves half of itself."""
        old = shutil.copytree(package_of("llama"), tmp_path / "package")
        before = verify(ExecutorchManifest, old)
        monkeypatch.setattr("harness.deployment.executorch.export.build_step", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            export_package(checkpoint_of("phi"), old, options())
        assert verify(ExecutorchManifest, old) == before
        assert list(tmp_path.iterdir()) == [old]


class TestVerify:
    @pytest.mark.parametrize("name", ["model.ptd", "model.pte", "tokenizer.json"])
    def test_a_flipped_bit_is_found(self, package_of, tmp_path, name):
        """A changed byte in any file is named."""
        folder = shutil.copytree(package_of("llama"), tmp_path / "package")
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
        with pytest.raises(CheckpointCorrupt, match=f"changed since it was packaged: {name}"):
            verify(ExecutorchManifest, folder)

    def test_of_another_checkpoint(self, checkpoint_of, package_of):
        """A package is compared with the checkpoint that it says it was made from, and with no other."""
        with pytest.raises(CheckpointCorrupt, match="was made from checkpoint"):
            compared(checkpoint_of("llama", "uniform and vocabulary"), package_of("llama"))

    def test_weights_of_another_checkpoint(self, package_of, checkpoint_of, tmp_path):
        """A package that only claims to be of a checkpoint is told by its logits, far outside the bound."""
        other = checkpoint_of("qwen2")
        folder = shutil.copytree(package_of("llama"), tmp_path / "package")
        manifest = verify(ExecutorchManifest, folder)
        claimed = manifest.model_copy(update={"checkpoint_digest": Checkpoint.of(other).digest})
        claimed.write(folder / MANIFEST_NAME)
        found = compared(other, folder)
        assert found.largest_difference > 20 * found.bound
        assert "its logits differ" in found.fault


class TestWithoutExecutorch:
    def test_names_the_extra(self, checkpoint_of, tmp_path, monkeypatch):
        """Where executorch is not installed, the error says what to install, before anything is read."""

        def absent(name):
            raise metadata.PackageNotFoundError(name)

        monkeypatch.setattr(installed, "version", absent)
        with pytest.raises(ToolchainFailed, match=r"pip install 'edge-llm-harness\[edge\]'"):
            export_package(checkpoint_of("llama"), tmp_path / "package", options())

    @pytest.mark.parametrize("version", ["1.5.0", "1.6.0"])
    def test_names_the_versions(self, monkeypatch, version):
        """A version that the harness does not know is refused with those that it knows."""
        monkeypatch.setattr(installed, "version", lambda _: version)
        with pytest.raises(ToolchainFailed, match=rf"at least 1\.5\.1 and below 1\.6, found {version}"):
            installed.require_executorch()

    def test_nothing_is_imported_early(self):
        """Importing export, runner and check imports nothing of executorch."""
        modules = ("export", "runner", "check", "options")
        lines = [f"import harness.deployment.executorch.{name}" for name in modules]
        lines += ["import sys", "print({'executorch'} & sys.modules.keys())"]
        done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "set()"
