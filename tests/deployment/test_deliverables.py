"""The folder of the final submission: every item that the rules ask for, or why it is not there."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

import harness
from harness.checkpoint.checkpoint import Checkpoint
from harness.deployment.deliverables import Deliverables, DeliverablesRecord, write_deliverables
from harness.deployment.deliverables_text import opencompass_model
from harness.deployment.mlc.export import export_package
from harness.errors import UsageError
from harness.rules.edition import load_edition
from tests.deployment.mlc.conftest import cut

CHECKS = ("27 tensors equal the checkpoint's",)
FAKE_ADB = """#!/bin/sh
printf '%s\\n' "$*" >> "$ADB_LOG"
case "$*" in
    get-state) printf '%s\\n' "${ADB_STATE:-device}" ;;
    *wc*) printf '%s\\r\\n' "${ADB_FILES}" ;;
esac
"""


@pytest.fixture
def made(tmp_path, tiny_checkpoints):
    """Deliverables of a tiny Llama for MLC: ``(work, folder)``."""
    checkpoint = tiny_checkpoints["llama"]
    export_package(checkpoint, tmp_path / "packed")
    work = Deliverables(
        name="tiny-llama", target="mlc", checkpoint=checkpoint, package=tmp_path / "packed", checks=CHECKS
    )
    write_deliverables(work, tmp_path / "out")
    return work, tmp_path / "out"


class TestWriteDeliverables:
    def test_names_every_item(self, made):
        """Each of the eight is there or its absence has a reason, and every named file exists."""
        record = DeliverablesRecord.read(made[1] / "deliverables.json")
        names = {item.name for item in record.items}
        assert names == {
            "checkpoint", "conversion", "package", "apk", "bundle", "evidence", "opencompass", "results",
        }  # fmt: skip
        for item in record.items:
            assert bool(item.files) is (item.missing is None)
            assert all((made[1] / file).exists() for file in item.files)
        assert {item.name for item in record.missing} == {"apk", "results"}

    def test_refers_to_the_weights_by_digest(self, made):
        """The checkpoint is named by the digest that the record of an entry has; its weights are not copied."""
        work, folder = made
        digest = Checkpoint.of(work.checkpoint).digest
        assert digest in (folder / "Saved_Model.txt").read_text()
        assert DeliverablesRecord.read(folder / "deliverables.json").checkpoint_digest == digest
        assert not list(folder.rglob("*.safetensors"))

    def test_holds_the_package(self, made):
        """Byte for byte, with a list by which it can be held against it on the way."""
        work, folder = made
        for path in work.package.iterdir():
            assert (folder / "package" / path.name).read_bytes() == path.read_bytes()
        sums = dict(line.split("  ")[::-1] for line in (folder / "package.sha256").read_text().splitlines())
        assert (
            sums["params_shard_0.bin"]
            == hashlib.sha256((folder / "package" / "params_shard_0.bin").read_bytes()).hexdigest()
        )

    def test_says_plainly_that_no_phone_was_there(self, made):
        """``error.txt`` has the reasons and what was checked instead."""
        text = (made[1] / "error.txt").read_text()
        assert "No phone was attached" in text
        assert CHECKS[0] in text

    def test_with_everything(self, tmp_path, made):
        """App, picture and results take the place of what was missing; the old folder is replaced."""
        work, folder = made
        (tmp_path / "app.apk").write_bytes(b"apk")
        (tmp_path / "screen.png").write_bytes(b"png")
        whole = Deliverables(
            name=work.name,
            target="mlc",
            checkpoint=work.checkpoint,
            package=work.package,
            checks=CHECKS,
            results_csv="CommonsenseQA\n1\n",
            apk=tmp_path / "app.apk",
            evidence=tmp_path / "screen.png",
        )
        record = write_deliverables(whole, folder)
        assert record.missing == ()
        assert (folder / "Results.CSV").read_text() == "CommonsenseQA\n1\n"
        assert (folder / "evidence.png").read_bytes() == b"png"
        assert not (folder / "error.txt").exists()

    def test_brings_the_definition_of_a_shape_that_mlc_lacks(self, tmp_path, tiny_checkpoints):
        """The conversion code is the definition itself, and the commands run it in the place of mlc_llm."""
        source = cut(tiny_checkpoints["phi"], tmp_path / "cut", "everything")
        export_package(source, tmp_path / "packed")
        work = Deliverables(name="cut-phi", target="mlc", checkpoint=source, package=tmp_path / "packed", checks=CHECKS)
        write_deliverables(work, tmp_path / "out")
        assert "MODELS[MODEL_TYPE]" in (tmp_path / "out" / "Source-Code" / "mlc_model.py").read_text()
        assert 'mlc_model.py" convert_weight' in (tmp_path / "out" / "Source-Code" / "convert.sh").read_text()
        assert "trust_remote_code=True" in (tmp_path / "out" / "Model_Opencompass.py").read_text()

    def test_replaces_only_its_like(self, tmp_path, made):
        """A folder of somebody else is left alone; a name that a shell would read otherwise is refused."""
        work, _ = made
        (tmp_path / "mine").mkdir()
        with pytest.raises(UsageError, match="stands in the way"):
            write_deliverables(work, tmp_path / "mine")
        hostile = Deliverables(
            name="a'; rm -rf x", target="mlc", checkpoint=work.checkpoint, package=work.package, checks=()
        )
        with pytest.raises(UsageError, match="allowed are"):
            write_deliverables(hostile, tmp_path / "new")
        assert not (tmp_path / "new").exists()


class TestOpenCompass:
    def test_names_the_configurations_that_the_harness_scores(self, made):
        """The six files, prompt hashes included, are those that the official suite runs."""
        worker = Path(harness.__file__).parent / "toolchains/opencompass/worker/official.py"
        tree = ast.parse(worker.read_text())
        table = next(
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and node.targets[0].id == "CONFIGURATIONS"
        )
        ranked = load_edition("neurips-2024").tasks
        expected = {
            (f"opencompass.configs.datasets.{file.replace('/', '.')}", name) for file, name in map(table.get, ranked)
        }
        own = ast.parse((made[1] / "Configuration_Opencompass.py").read_text())
        found = {
            (node.module, node.names[0].name)
            for node in ast.walk(own)
            if isinstance(node, ast.ImportFrom) and node.module.startswith("opencompass")
        }
        assert found == expected

    @pytest.mark.parametrize("remote", [True, False])
    @pytest.mark.parametrize(("chat", "kind"), [(True, "HuggingFacewithChatTemplate"), (False, "HuggingFaceBaseModel")])
    def test_the_model_is_python_and_names_its_class(self, remote, chat, kind):
        """Turns for a model that has a chat template, plain text for one that has none."""
        text = opencompass_model("m-1", remote=remote, chat=chat)
        call = next(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
        assert next(word.value.id for word in call.keywords if word.arg == "type") == kind
        assert text.count(f"trust_remote_code={remote}") == 2


class TestBundleScript:
    def run(self, tmp_path, folder, *arguments, **variables):
        """The script under a shell of its own, with an adb that only writes down what it is asked."""
        adb = tmp_path / "bin" / "adb"
        adb.parent.mkdir(exist_ok=True)
        adb.write_text(FAKE_ADB)
        adb.chmod(adb.stat().st_mode | stat.S_IXUSR)
        count = sum(path.is_file() for path in (folder / "package").iterdir())
        environment = {
            "PATH": f"{adb.parent}:{os.environ['PATH']}",
            "ADB_LOG": str(tmp_path / "adb.log"),
            "ADB_FILES": str(count),
            **variables,
        }
        command = ["/bin/sh", str(folder / "bundle_weight.sh"), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        log = tmp_path / "adb.log"
        return done, log.read_text().splitlines() if log.exists() else []

    def test_pushes_and_moves(self, tmp_path, made):
        """App, transfer folder, the app's own folder, and a count of what arrived."""
        (tmp_path / "app.apk").write_bytes(b"apk")
        done, asked = self.run(tmp_path, made[1], str(tmp_path / "app.apk"))
        assert done.returncode == 0, done.stderr
        assert asked[:2] == ["get-state", f"install -r {tmp_path / 'app.apk'}"]
        assert f"push {made[1] / 'package'} /data/local/tmp/tiny-llama" in asked
        assert any("mv '/data/local/tmp/tiny-llama' '/storage/emulated/0/Android/data/ai.mlc" in one for one in asked)
        assert done.stdout.endswith("/ai.mlc.mlcchat/files/tiny-llama\n")

    @pytest.mark.parametrize(
        ("variables", "message"),
        [({"ADB_STATE": "unauthorized"}, "state unauthorized"), ({"ADB_FILES": "3"}, "3 files are on the phone")],
    )
    def test_a_phone_that_is_not_ready(self, tmp_path, made, variables, message):
        """Says what is wrong, and ends with a failure."""
        done, _ = self.run(tmp_path, made[1], **variables)
        assert done.returncode == 1
        assert message in done.stderr

    def test_a_package_that_was_changed(self, tmp_path, made):
        """Nothing is pushed that is not what was packaged."""
        path = made[1] / "package" / "tensor-cache.json"
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content + b" ")
        done, asked = self.run(tmp_path, made[1])
        assert done.returncode == 1
        assert "not what was packaged" in done.stderr
        assert asked == ["get-state"]

    def test_without_adb(self, tmp_path, made):
        """Says what to install."""
        (tmp_path / "empty").mkdir()
        done = subprocess.run(
            ["/bin/sh", str(made[1] / "bundle_weight.sh")],
            env={"PATH": f"{tmp_path / 'empty'}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "install the Android platform tools" in done.stderr

    def test_manifest_is_json_for_scripts(self, made):
        """And says which model it is of."""
        assert json.loads((made[1] / "deliverables.json").read_text())["name"] == "tiny-llama"
