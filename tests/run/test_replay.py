"""A rerun from the lock file: identical, or different at a step, a tensor and a byte that are named."""

from __future__ import annotations

import importlib
import shutil
import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from harness.containment import Limits
from harness.errors import UsageError
from harness.run import filing
from harness.run.code import harness_folder, tree_digest
from harness.run.differing import first_spot
from harness.run.preparation import prepare
from harness.run.replay import Asked, prepare_replay, read_lock, rerun
from harness.run.settings import SubmitSettings
from harness.run.strategy import carry_out
from harness.run.workspace import Workspace
from harness.run.written_recipe import recipe_text
from harness.submission.provenance import CodeRecord, EditionRecord, Lock

SHIFTING = """
import shutil
from typing import ClassVar, Literal
from safetensors.numpy import load_file, save_file
from harness import Options, Step, StepResult, hookimpl

class Shift(Step):
    stage: Literal["compress"] = "compress"
    method: Literal["shift"] = "shift"
    reads_data: ClassVar[bool] = False
    row: int = 0
    by: float = 0.0
    note: str | None = None

class Shifts(Options):
    steps: tuple[Shift, ...] = ()

@hookimpl
def options_model():
    return Shifts

@hookimpl
def compress(request):
    made = shutil.copytree(request.student.path, request.workdir / "made", dirs_exist_ok=True)
    tensors = load_file(made / "model.safetensors")
    tensors["model.embed_tokens.weight"][request.step.row] += request.step.by + request.seed
    save_file(tensors, made / "model.safetensors", metadata={"format": "pt"})
    return StepResult(checkpoint=made)
"""
RECIPE = "".join(f'[[step]]\nstage = "compress"\nmethod = "shift"\nrow = {n}\nby = 0.5\n' for n in range(3))
EMBEDDING = "model.embed_tokens.weight"
LIMITS = Limits(time_s=120, memory_bytes=4 << 30)


class Silent:
    """An observer that nobody listens to."""

    def section(self, title, detail=""):
        pass

    def started(self, label):
        pass

    def event(self, event):
        pass

    def finished(self, label, result, duration_s, *, reused):
        pass


@pytest.fixture(scope="module")
def base(tiny_checkpoints):
    return str(tiny_checkpoints["llama"])


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Where the original run stands."""
    return tmp_path_factory.mktemp("first")


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """A plugin that adds to one row of the embedding, installed."""
    site = tmp_path_factory.mktemp("site")
    package, info = site / "shifting_plugin", site / "dist_shifting-1.0.dist-info"
    (package / "recipes").mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text(SHIFTING)
    (package / "recipes" / "demo.toml").write_text(RECIPE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dist-shifting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[harness]\nshifting = shifting_plugin\n[harness.interface]\nshifting = v1\n"
    )
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.setenv("PYTHONPATH", str(site))
        importlib.invalidate_caches()
        yield


@pytest.fixture(scope="module")
def lock(first, base, plugin):
    """The lock file of a run of three steps."""
    settings = SubmitSettings(
        plugin="shifting",
        bases={"llama": base},
        budget=1.0,
        seed=3,
        control=False,
        time_limit_s=LIMITS.time_s,
        memory_limit_bytes=LIMITS.memory_bytes,
    )
    prepared = prepare(settings, Workspace(first))
    strategy = carry_out(prepared, prepared.models[0], Silent())
    return locked(prepared, strategy)


def locked(prepared, strategy):
    edition = prepared.edition
    return Lock(
        harness=CodeRecord(name="h", version=filing.harness.__version__, code_digest=tree_digest([harness_folder()])),
        plugin=CodeRecord(name="dist-shifting", version="1.0", code_digest=prepared.plugin_digest),
        edition=EditionRecord(id=edition.id, version=edition.version, rules_digest=edition.content_digest()),
        platform=filing.platform_record(prepared),
        packages={"numpy": np.__version__},
        seeds={"submission": 3},
        digests=filing._digests((strategy,)),
        recipe=filing.recipe_record(prepared, (strategy,)),
    )


@pytest.fixture
def replayed(lock, first, tmp_path, base):
    """Replay the lock, changed or asked for otherwise."""

    def run(changed=lock, **asked):
        wanted = Asked(limits=LIMITS, bases={"llama": base}, originals=first / "steps", **asked)
        return rerun(prepare_replay(changed, wanted, Workspace(tmp_path / "again")), Silent())

    return run


class TestReplay:
    def test_the_same_again_is_identical(self, replayed):
        """Every checkpoint, the base first, byte for byte, and nothing around it has changed."""
        found = replayed()
        assert found.identical
        assert found.changes == ()
        assert [step.step for step in found.steps] == ["base", *(f"{n} compress shift" for n in (1, 2, 3))]
        assert all(step.same for step in found.steps)

    def test_a_changed_option_is_named_with_step_tensor_and_byte(self, replayed):
        """The step that it belongs to is the first that differs; those before it are the same."""
        found = replayed(overrides=("steps.2.by=0.75",))
        assert [(c.what, c.then, c.now) for c in found.changes] == [
            ("llama step 2 (compress shift): by", "0.5", "0.75")
        ]
        assert [step.same for step in found.steps] == [True, True, False, False]
        assert (found.first.model, found.first.step) == ("llama", "2 compress shift")
        spot = found.first.spot
        assert (spot.file, spot.tensor) == ("model.safetensors", EMBEDDING)
        assert spot.index > 0
        assert float(spot.now) - float(spot.then) == pytest.approx(0.25, abs=0.01)

    def test_another_seed_differs_from_the_first_step_on(self, lock, replayed):
        """The seed is the lock file's, so a changed one shows."""
        found = replayed(lock.model_copy(update={"seeds": {"submission": 4}}))
        assert (found.first.step, found.first.spot.tensor, found.first.spot.index) == ("1 compress shift", EMBEDDING, 0)

    def test_without_the_original_the_step_is_known(self, lock, tmp_path, base):
        """And the tensor is not: the checkpoint that it would be held against is gone."""
        asked = Asked(limits=LIMITS, bases={"llama": base}, overrides=("steps.3.by=9.0",))
        found = rerun(prepare_replay(lock, asked, Workspace(tmp_path / "again")), Silent())
        assert found.first.step == "3 compress shift"
        assert found.first.spot is None

    def test_other_versions_are_known_before_anything_runs(self, lock, tmp_path, base):
        """Package, machine and code, then and now."""
        other = lock.model_copy(
            update={
                "packages": {"numpy": "1.0", "no-such-package": "2"},
                "platform": lock.platform.model_copy(update={"cpu": "Z80"}),
            }
        )
        prepared = prepare_replay(other, Asked(limits=LIMITS, bases={"llama": base}), Workspace(tmp_path / "again"))
        found = {change.what: (change.then, change.now) for change in prepared.changes}
        assert set(found) == {"numpy", "no-such-package", "cpu"}
        assert found["no-such-package"] == ("2", "not installed")
        assert not list((tmp_path / "again").glob("steps/*"))

    def test_what_no_record_holds_is_asked_for(self, lock, tmp_path):
        """Files of the user stand as placeholders."""
        with pytest.raises(UsageError, match="--base llama=PATH"):
            prepare_replay(lock, Asked(limits=LIMITS), Workspace(tmp_path / "again"))

    def test_what_is_reused_is_not_replayed(self, lock, first):
        """A workspace with steps is refused."""
        with pytest.raises(UsageError, match="has steps already"):
            prepare_replay(lock, Asked(limits=LIMITS), Workspace(first))

    def test_the_lock_of_a_bundle_or_a_file(self, lock, tmp_path):
        """Either is taken; what is no lock file says so."""
        lock.write(tmp_path / "lock.json")
        assert read_lock(tmp_path) == read_lock(tmp_path / "lock.json") == lock
        (tmp_path / "broken.json").write_text("[]")
        with pytest.raises(UsageError, match="expected a lock file"):
            read_lock(tmp_path / "broken.json")


class TestFirstSpot:
    @pytest.fixture
    def pair(self, tiny_checkpoints, tmp_path):
        return tuple(shutil.copytree(tiny_checkpoints["llama"], tmp_path / name) for name in ("one", "other"))

    def test_equal_folders_have_none(self, pair):
        """Same bytes, no difference."""
        assert first_spot(*pair) is None

    def test_is_the_very_element_that_was_changed(self, pair):
        """Tensor, flat index and byte, with both numbers."""
        tensors = load_file(pair[1] / "model.safetensors")
        name, place = sorted(tensors)[2], 5
        tensors[name].reshape(-1)[place] += 1
        before = load_file(pair[0] / "model.safetensors")
        for folder, content in zip(pair, (before, tensors), strict=True):
            save_file(content, folder / "model.safetensors")
        spot = first_spot(*pair)
        assert (spot.tensor, spot.index) == (name, place)
        assert spot.then == str(before[name].reshape(-1)[place])
        raw = [(folder / "model.safetensors").read_bytes() for folder in pair]
        assert raw[0][: spot.byte_offset] == raw[1][: spot.byte_offset]
        assert raw[0][spot.byte_offset] != raw[1][spot.byte_offset]

    def test_another_shape_is_said_as_one(self, pair):
        """Not as a byte: everything after it has moved."""
        tensors = load_file(pair[1] / "model.safetensors")
        tensors[EMBEDDING] = tensors[EMBEDDING][:-1]
        save_file(tensors, pair[1] / "model.safetensors")
        spot = first_spot(*pair)
        assert (spot.change, spot.tensor) == ("another shape", EMBEDDING)
        assert (spot.then, spot.now) == ("F16 [261, 64]", "F16 [260, 64]")
        assert spot.byte_offset is None

    def test_other_files_count_where_the_weights_agree(self, pair):
        """A changed config is a difference too; a missing file as well."""
        (pair[1] / "config.json").write_text((pair[0] / "config.json").read_text() + " ")
        spot = first_spot(*pair)
        assert (spot.file, spot.tensor) == ("config.json", None)
        assert spot.byte_offset == (pair[0] / "config.json").stat().st_size


SCALARS = st.one_of(
    st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=9)
)
FIELDS = st.dictionaries(
    st.text(min_size=1, max_size=9),
    st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(st.text(max_size=5), SCALARS, max_size=3)),
    max_size=4,
)


class TestRecipeText:
    @given(steps=st.lists(FIELDS, max_size=3), beside=FIELDS)
    def test_is_read_as_what_was_written(self, steps, beside):
        """Whatever the options hold, TOML gives them back."""
        beside.pop("steps", None)
        beside.pop("step", None)
        read = tomllib.loads(recipe_text({**beside, "steps": steps}))
        assert read.pop("step", []) == steps
        assert read == beside

    def test_null_is_left_out(self):
        """TOML has no word for it."""
        assert recipe_text({"steps": [{"a": None, "b": 1}]}) == '\n[[step]]\n"b" = 1\n'
