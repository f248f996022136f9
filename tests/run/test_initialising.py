"""A track from scratch: the plugin's first step makes the base, and everything else is as with one."""

from __future__ import annotations

import importlib
import json
import shutil

import pytest

from harness.errors import RecipeError, UsageError
from harness.run.bases import find_tokenizer, tokenizer_config
from harness.run.filing import story
from harness.run.planning import make_plan
from harness.run.preparation import prepare
from harness.run.settings import SubmitSettings
from harness.run.strategy import carry_out

PLUGIN = """
import json
import shutil
from typing import Annotated, ClassVar, Literal
from pydantic import Field
from harness import Forecast, Options, Step, StepResult, hookimpl

class Begin(Step):
    stage: Literal["initialise"] = "initialise"
    method: Literal["begin"] = "begin"
    reads_data: ClassVar[bool] = False
    layers: int = 2

class Learn(Step):
    stage: Literal["train"] = "train"
    method: Literal["learn"] = "learn"
    reads_data: ClassVar[bool] = False

class Scratch(Options):
    steps: tuple[Annotated[Begin | Learn, Field(discriminator="method")], ...] = ()

@hookimpl
def options_model():
    return Scratch

def config(step, tokenizer):
    return {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": step.layers, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16,
        "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": False, "max_position_embeddings": 512,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, "attention_bias": False, "mlp_bias": False,
        **tokenizer,
    }

@hookimpl
def forecast(request):
    from harness.surgery.count import parameter_count
    made = config(request.step, dict(request.config))
    return Forecast(config=made, parameter_count=parameter_count(made)) if request.config else None

@hookimpl
def initialise(request):
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM
    with open(request.tokenizer / "tokenizer.json") as stream:
        length = len(json.load(stream)["model"]["vocab"])
    torch.manual_seed(request.seed)
    folder = request.workdir / "made"
    model = LlamaForCausalLM(LlamaConfig(**config(request.step, {"vocab_size": length})))
    model.half().save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(request.tokenizer / name, folder / name)
    return StepResult(checkpoint=folder)

@hookimpl
def train(request):
    folder = shutil.copytree(request.student.path, request.workdir / "learned", dirs_exist_ok=True)
    (folder / "trained.json").write_text("{}")
    return StepResult(checkpoint=folder)
"""
BEGIN = '[[step]]\nstage = "initialise"\nmethod = "begin"\n'
LEARN = '[[step]]\nstage = "train"\nmethod = "learn"\n'


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install the plugin with a recipe for the demo's track from scratch, and one for its track with base models."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))

    def write(recipe=BEGIN + LEARN, *, demo=LEARN):
        package, info = site / "scratch_plugin", site / "dist_scratch-1.0.dist-info"
        (package / "recipes").mkdir(parents=True)
        info.mkdir()
        (package / "__init__.py").write_text(PLUGIN)
        (package / "recipes" / "demo-scratch.toml").write_text(recipe)
        (package / "recipes" / "demo.toml").write_text(demo)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dist-scratch\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            "[harness]\nscratching = scratch_plugin\n[harness.interface]\nscratching = v1\n"
        )
        importlib.invalidate_caches()

    return write


@pytest.fixture
def settings(tmp_path):
    return SubmitSettings(
        plugin="scratching",
        track="demo-scratch",
        out=str(tmp_path / "submissions"),
        time_limit_s=120,
        memory_limit_bytes=4 << 30,
    )


class TestInitialisation:
    def test_is_the_base(self, install, settings, workspace, observer):
        """It stands in the workspace, is measured and named as base, and train steps lead on from it."""
        install()
        prepared = prepare(settings, workspace)
        (model,) = prepared.models
        assert model.name == "scratch"
        assert model.base.path.is_relative_to(workspace.root)
        assert model.parameter_budget == model.base_parameter_count > 0
        assert prepared.settings.budget == 1.0
        strategy = carry_out(prepared, model, observer)
        assert [outcome.step.method for outcome in strategy.steps] == ["learn"]
        assert set(story(strategy)) == {"base", "final"}
        assert strategy.final.digest != model.base.digest
        assert strategy.control is None

    def test_is_written_once(self, install, settings, workspace):
        """Prepared again, it is the same folder; another seed or another shape is another one."""
        install()
        first = prepare(settings, workspace).models[0].base
        assert prepare(settings, workspace).models[0].base == first
        for change in ({"seed": 1}, {"overrides": ("begin.layers=1",)}):
            assert prepare(settings.model_copy(update=change), workspace).models[0].base.digest != first.digest

    def test_depends_on_the_tokenizer(self, install, settings, workspace, tmp_path, tiny_checkpoints):
        """A folder with another one makes another model; what else lies in the folder does not matter."""
        install()
        bare = tmp_path / "tokenizer"
        bare.mkdir()
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(tiny_checkpoints["llama"] / name, bare / name)
        given = [{"scratch": str(path)} for path in (bare, tiny_checkpoints["llama"])]
        bases = [prepare(settings.model_copy(update={"bases": each}), workspace).models[0].base for each in given]
        assert bases[0].digest == bases[1].digest != prepare(settings, workspace).models[0].base.digest
        assert json.loads((bases[0].path / "config.json").read_text())["vocab_size"] == 261


class TestRecipe:
    @pytest.mark.parametrize(
        ("recipe", "message"),
        [
            (LEARN, "step 1 must be initialise; found train"),
            (LEARN + BEGIN, "step 1 must be initialise; found train"),
            (BEGIN + LEARN + BEGIN, "step 3 is an initialise step; allowed: one, the first"),
            ("", "found no step"),
        ],
    )
    def test_begins_with_the_initialisation(self, install, settings, workspace, recipe, message):
        """Once and first, where there is no base model."""
        install(recipe)
        with pytest.raises(RecipeError, match=message):
            prepare(settings, workspace)

    def test_has_none_where_there_is_a_base_model(self, install, settings, workspace):
        """An initialisation in a track of base models would throw the base away."""
        install(demo=BEGIN + LEARN)
        with pytest.raises(RecipeError, match="step 1 is an initialise step; allowed: no initialise step"):
            prepare(settings.model_copy(update={"track": "demo"}), workspace)


class TestTokenizer:
    def test_none_is_known(self, settings, demo):
        """The message says how to give one."""
        rule = demo.models["scratch"].model_copy(update={"tokenizer": None})
        with pytest.raises(UsageError, match="--base scratch=FOLDER"):
            find_tokenizer("scratch", rule, settings)

    def test_a_folder_without_one(self, settings, demo, tmp_path):
        """What was given has no tokenizer in it."""
        given = settings.model_copy(update={"bases": {"scratch": str(tmp_path)}})
        with pytest.raises(UsageError, match=r"found none"):
            find_tokenizer("scratch", demo.models["scratch"], given)

    def test_says_what_a_configuration_needs(self, tiny_checkpoints):
        """Its length and the ids of its special tokens, without transformers."""
        found = tokenizer_config(tiny_checkpoints["llama"])
        assert found == {"vocab_size": 261, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


class TestPlan:
    def test_knows_the_shape_before_anything_runs(self, install, settings, workspace):
        """The plugin's forecast of the initialisation is the plan's base, and the model that is made has its count."""
        install()
        (planned,) = make_plan(settings, workspace).models
        made = prepare(settings, workspace).models[0]
        assert planned.base.parameter_count == made.base_parameter_count == planned.parameter_budget
        assert planned.base_source == "an initialisation"
        assert [step.method for step in planned.steps] == ["learn"]
        assert planned.steps[0].forecast == planned.base

    def test_an_unknown_vocabulary(self, install, settings, workspace, demo, monkeypatch):
        """Without a tokenizer the shape may not be known; the message says what to give."""
        install()
        rules = demo.model_copy(
            update={"models": demo.models | {"scratch": demo.models["scratch"].model_copy(update={"tokenizer": None})}}
        )
        monkeypatch.setattr("harness.run.preparation.edition_of", lambda _settings: rules)
        with pytest.raises(UsageError, match="its tokenizer decides the vocabulary"):
            make_plan(settings, workspace)


class TestModels:
    def test_the_default_is_the_tracks(self, settings, demo):
        """Who names no model gets the one that there is; a base model of another track is still refused."""
        from harness.run.settings import models_of, track_of

        track = track_of(settings, demo)
        assert models_of(settings, track) == ("scratch",)
        with pytest.raises(UsageError, match="not in track"):
            models_of(settings.model_copy(update={"models": ("phi",)}), track)
