"""A run filed: once in one place, whatever is run again."""

from __future__ import annotations

import pytest

from harness.errors import PluginNotFound
from harness.judge.edge import FiledFigure
from harness.judge.results import Performance, Window, summarise
from harness.run import filing, measuring, pipeline
from harness.submission.measurements import Evaluation, TaskScore
from harness.submission.provenance import ToolchainRecord

PICO = {"bases": {}, "limit": 5}
"""The embedded base, so that no rule is broken."""


@pytest.fixture
def measured(monkeypatch):
    """The judge's figures without its processes; every call is another speed, as on a real machine."""
    calls = []

    def bits(paths, _texts, *, window_tokens, surroundings):
        windows = (Window(8.0, 4), Window(6.0, 4))
        return [summarise(windows, token_count=5, window_tokens=window_tokens, texts_sha256="1" * 64) for _ in paths]

    def performance(_path, *, package, rule, surroundings, packaging):
        calls.append(rule)
        figure = Performance(
            runtime="none",
            dtype="float16",
            device="cpu",
            device_name="none",
            thread_count=surroundings.threads,
            prefill_tokens=rule.prefill_tokens,
            decode_tokens=rule.decode_tokens,
            repeats=rule.repeats,
            prefill_tokens_per_s=1.0,
            decode_tokens_per_s=float(len(calls)),
            time_to_first_token_s=1.0,
            peak_memory_bytes=1000,
            memory_method="none",
            host_peak_memory_bytes=1000,
            runtime_memory_bytes=1000,
            prefill_s=(1.0,) * rule.repeats,
            decode_s=(1.0,) * rule.repeats,
        )
        return FiledFigure(performance=figure, runtime="transformers", why="a test")

    def tasks(request, _surroundings):
        def score(name, rule):
            scored = {"task": name, "column": rule.column, "metric": rule.metric, "scale": rule.scale}
            return TaskScore(**scored, score=rule.scale / 5, item_count=5)

        return tuple(
            Evaluation(
                engine="none",
                engine_version="0",
                suite=request.suite,
                item_limit=request.limit,
                tasks=tuple(score(name, rule) for name, rule in request.tasks.items()),
                checkpoint_digest=model.checkpoint.digest,
            )
            for model in request.models
        )

    monkeypatch.setattr(measuring, "measure_bits_per_byte", bits)
    monkeypatch.setattr(measuring, "measure_for_record", performance)
    monkeypatch.setattr(measuring, "measure_tasks", tasks)
    engine = ToolchainRecord(name="none", version="0", pins_digest="2" * 64, packages={"none": "0"})
    monkeypatch.setattr(filing, "toolchain_record", lambda: engine)


@pytest.fixture
def run(measured, install_copying, settings, workspace, observer):
    """Submit the copying plugin with the given settings."""
    install_copying()

    def submit(**changed):
        asked = settings.model_copy(update={**PICO, **changed})
        return pipeline.submit(pipeline.begin(asked, workspace), workspace, observer)

    return submit


class TestBegin:
    def test_a_plugin_that_is_not_there_leaves_no_run(self, settings, workspace):
        """A slip of the finger is told before anything is remembered."""
        with pytest.raises(PluginNotFound, match="did you mean 'tinytron'"):
            pipeline.begin(settings.model_copy(update={"plugin": "tinytorn"}), workspace)
        assert not workspace.root.exists()

    def test_the_same_settings_are_the_same_run(self, install_copying, settings, workspace):
        """Given again they are found again; others are another run."""
        install_copying()
        first = pipeline.begin(settings, workspace)
        assert pipeline.begin(settings, workspace) == first == pipeline.resumed(first.run, workspace)
        assert pipeline.begin(settings.model_copy(update={"seed": 1}), workspace).run != first.run


class TestSubmit:
    def test_the_same_run_again_is_the_same_entry(self, run):
        """Nothing is measured again, and what was filed is not so much as rewritten."""
        first = run()
        assert first.filed, first.report
        manifest = first.bundle / "submission.json"
        before = (manifest.read_bytes(), manifest.stat().st_mtime_ns)
        second = run()
        assert (second.bundle, second.number) == (first.bundle, 1)
        assert (manifest.read_bytes(), manifest.stat().st_mtime_ns) == before

    def test_another_run_of_the_day_goes_beside_it(self, run):
        """Other settings are another entry, with a number in its name; the first is untouched, each is found again."""
        first, second = run(), run(seed=1)
        assert second.filed, second.report
        assert (first.number, second.number) == (1, 2)
        assert second.bundle.name == first.bundle.name.replace("-copying", ".2-copying")
        assert (run(seed=1).bundle, run().bundle) == (second.bundle, first.bundle)
        assert len(list(first.bundle.parent.iterdir())) == 2

    def test_a_part_of_the_tasks_is_filed_as_incomplete(self, run):
        """In the demo an entry of two tasks is filed, and says what it lacks in report, page and results."""
        part = run(tasks=("gsm8k", "bbh"))
        assert part.filed, part.report
        missing = [one for one in part.report.findings if one.rule == "scores.tasks_complete"]
        assert len(missing) == 4
        assert "incomplete: not scored on" in (part.bundle / "README.md").read_text()
        assert (part.bundle / "Results.csv").read_text().splitlines()[1].startswith(",20.0,20.0,,,,")
