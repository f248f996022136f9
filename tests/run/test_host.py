"""The host: whatever a plugin does, it is named with its hook and cause, and only its own step is lost."""

from __future__ import annotations

import textwrap
import time

import pytest

from harness.containment import Limits
from harness.errors import ContractBroken, LimitExceeded, PluginBroken, PluginFailed, RecipeError
from harness.run.discovery import InstalledPlugin
from harness.run.host import PluginHost
from harness.run.protocol import CheckpointReference
from harness.run.recipe import read_recipe

OPTIONS = """
from typing import Annotated, Literal
from pydantic import Field
from harness import Options, Step, hookimpl, StepResult

class Cut(Step):
    stage: Literal["compress"] = "compress"
    method: Literal["cut"] = "cut"
    share: float = Field(default=0.5, gt=0, le=1)

class Learn(Step):
    stage: Literal["train"] = "train"
    method: Literal["learn"] = "learn"

class Mine(Options):
    steps: tuple[Annotated[Cut | Learn, Field(discriminator="method")], ...] = ()

@hookimpl
def options_model():
    return Mine
"""

RECIPE = '[[step]]\nstage = "compress"\nmethod = "cut"\nshare = 0.25\n'


@pytest.fixture
def make_host(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))

    def make(source, *, time_s=20.0, memory_bytes=2 << 30, interface="v1"):
        (tmp_path / "site").mkdir(exist_ok=True)
        (tmp_path / "site" / "strange_plugin.py").write_text(textwrap.dedent(source))
        plugin = InstalledPlugin(
            name="strange", module="strange_plugin", distribution="dist-strange", version="1.0", interface=interface
        )
        return PluginHost(plugin, Limits(time_s=time_s, memory_bytes=memory_bytes), threads=1)

    return make


@pytest.fixture
def recipe(tmp_path):
    def write(text=RECIPE):
        path = tmp_path / "r.toml"
        path.write_text(text)
        return read_recipe(path)

    return write


def compress(host, recipe, folder):
    folder.mkdir(exist_ok=True)
    reference = CheckpointReference(path=str(folder), digest="0" * 64)
    request = host.request(
        "compress", recipe, folder, base=reference, student=reference, parameter_budget=1, door={"rules": {}}
    )
    return host.call(request, folder, lambda _event: None)


class TestOptions:
    def test_defaults_and_values_come_back(self, make_host, recipe, tmp_path):
        """The plugin's own model parses the recipe; the host gets every field."""
        described = make_host(OPTIONS).options(recipe(), tmp_path / "o")
        assert described.steps[0].fields == {"stage": "compress", "method": "cut", "share": 0.25}

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (RECIPE.replace("0.25", "1.5"), r"r\.toml:4: steps\.1\.share: .*less than or equal to 1, found 1\.5"),
            (RECIPE.replace("share", "shaer"), r"r\.toml:4: steps\.1\.shaer: .*did you mean 'share'\?"),
            (RECIPE.replace('"cut"', '"cutt"'), r"r\.toml:3: steps\.1\.method: .*did you mean 'cut'\?"),
            ("stpes = 1\n" + RECIPE, r"r\.toml:1: stpes: .*did you mean 'steps'\?"),
        ],
    )
    def test_wrong_field_is_located(self, make_host, recipe, tmp_path, text, expected):
        """File, line, field, what was found, and the near name."""
        with pytest.raises(RecipeError, match=expected):
            make_host(OPTIONS).options(recipe(text), tmp_path / "o")

    def test_options_model_that_is_no_class(self, make_host, recipe, tmp_path):
        """Pluggy does not check what a hook returns; the worker does."""
        source = "from harness import hookimpl\n@hookimpl\ndef options_model():\n    return 7\n"
        with pytest.raises(ContractBroken, match="options_model"):
            make_host(source).options(recipe(), tmp_path / "o")


class TestBrokenPlugins:
    @pytest.mark.parametrize(
        "source",
        [
            "import nothing_of_that_name",
            "raise RuntimeError('at import')",
            "from harness import hookimpl\n@hookimpl\ndef compress(request, more):\n    pass\n",
            "from harness import hookimpl\n@hookimpl\ndef compres(request):\n    pass\n",
        ],
        ids=["missing import", "raises at import", "wrong arguments", "misspelt hook"],
    )
    def test_is_named_with_its_distribution(self, make_host, recipe, tmp_path, source):
        """A plugin that cannot be loaded is named with the distribution that brought it."""
        with pytest.raises(PluginBroken, match=r"'strange' .*dist-strange"):
            make_host(source).options(recipe(), tmp_path / "o")

    def test_other_interface_version(self, make_host):
        """A plugin for another interface is refused with the way out, before anything is imported."""
        with pytest.raises(PluginBroken, match=r"v9.*v1"):
            make_host("raise SystemExit", interface="v9")


class TestCompress:
    def hook(self, body):
        return OPTIONS + "\n@hookimpl\ndef compress(request):\n" + textwrap.indent(textwrap.dedent(body), "    ")

    @pytest.mark.parametrize(
        ("body", "error", "message"),
        [
            ("raise ValueError('of mine')", PluginFailed, r"hook 'compress'.*ValueError: of mine"),
            ("return 'a path'", ContractBroken, "returned str, expected StepResult"),
            ("return None", ContractBroken, "returned NoneType, expected StepResult"),
            ("from pathlib import Path\nreturn StepResult(checkpoint=Path('/etc'))", ContractBroken, "inside"),
            ("import os\nos._exit(9)", PluginFailed, "exit code 9"),
            ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", PluginFailed, "exit code -11"),
            ("bytearray(1 << 45)", LimitExceeded, "memory"),
            ("list(request.data.open('c4'))", Exception, "c4"),
        ],
    )
    def test_cause_is_named(self, make_host, recipe, tmp_path, body, error, message):
        """Raising, crashing, returning something else: plugin, hook and cause stand in the message."""
        with pytest.raises(error, match=message):
            compress(make_host(self.hook(body)), recipe(), tmp_path / "s")

    def test_hang_is_stopped_within_seconds_of_its_limit(self, make_host, recipe, tmp_path):
        """A plugin that never returns costs its limit, not the run."""
        started = time.monotonic()
        with pytest.raises(LimitExceeded, match="--time-limit"):
            compress(make_host(self.hook("while True: pass"), time_s=3.0), recipe(), tmp_path / "s")
        assert time.monotonic() - started < 30

    def test_allocation_storm_is_stopped(self, make_host, recipe, tmp_path):
        """A plugin that allocates without end is stopped at its limit."""
        body = "held = []\nwhile True:\n    held.append(bytearray(1 << 24))"
        with pytest.raises(LimitExceeded, match="memory"):
            compress(make_host(self.hook(body), memory_bytes=600 << 20), recipe(), tmp_path / "s")

    def test_silent_hook_that_the_recipe_names(self, make_host, recipe, tmp_path):
        """A recipe that asks for a hook which the plugin has not is an error of the plugin."""
        with pytest.raises(ContractBroken, match="no hook 'compress'"):
            compress(make_host(OPTIONS), recipe(), tmp_path / "s")
