"""The figure that a submission files: which runtime, why, and from which package."""

from __future__ import annotations

import pytest

from harness.containment import Limits
from harness.errors import CheckpointCorrupt
from harness.judge import edge
from harness.judge.edge import edge_options, measure_for_record, runtime_for_record
from harness.judge.measure import Surroundings
from harness.rules.edition import MeasurementRule

RULE = MeasurementRule(memory_limit_bytes=1, prefill_tokens=16, decode_tokens=4, repeats=3)


@pytest.fixture
def surroundings(tmp_path):
    limits = Limits(time_s=300, memory_bytes=4 << 30)
    return Surroundings(work_dir=tmp_path / "work", limits=limits, on_event=lambda _event: None, threads=1)


class TestRuntimeForRecord:
    def test_the_edge_where_it_is(self, monkeypatch):
        """On a CPU with the extra installed."""
        monkeypatch.setattr(edge, "edge_absence", lambda: None)
        assert runtime_for_record("cpu")[0] == "executorch"
        assert runtime_for_record("cuda") == ("transformers", "the edge runtime computes on the CPU, asked was cuda")

    def test_transformers_where_it_is_not(self, monkeypatch):
        """And the reason is the way out."""
        monkeypatch.setattr(edge, "edge_absence", lambda: "pip install it")
        assert runtime_for_record("cpu") == ("transformers", "pip install it")


class TestEdgeOptions:
    @pytest.mark.parametrize(
        ("stored", "packaged"), [("float16", "float16"), ("bfloat16", "float16"), ("float32", "float32")]
    )
    def test_precision_is_the_stored_one(self, stored, packaged):
        """But for BF16, which the edge has not."""
        assert edge_options({"dtype": stored}, RULE).dtype == packaged

    @pytest.mark.parametrize(("known", "prefill", "context"), [(4096, 16, 512), (128, 16, 128), (4096, 1000, 1004)])
    def test_context_holds_the_protocol(self, known, prefill, context):
        """The usual one, less where the model knows less, more where the protocol needs more."""
        rule = RULE.model_copy(update={"prefill_tokens": prefill})
        assert edge_options({"max_position_embeddings": known}, rule).context_tokens == context


class TestMeasureForRecord:
    def test_without_the_edge_no_package_is_made(self, tmp_path, tiny_checkpoints, surroundings, monkeypatch):
        """The checkpoint itself is measured under transformers, and the record names what ran it."""
        monkeypatch.setattr(edge, "edge_absence", lambda: "not here")
        found = measure_for_record(
            tiny_checkpoints["llama"], package=tmp_path / "package", rule=RULE, surroundings=surroundings
        )
        assert found.performance.runtime.startswith("transformers ")
        assert (found.runtime, found.why) == ("transformers", "not here")
        assert not (tmp_path / "package").exists()

    def test_what_stands_in_the_way_is_not_overwritten(self, tmp_path, tiny_checkpoints, surroundings, monkeypatch):
        """A folder that is no package is somebody's."""
        monkeypatch.setattr(edge, "edge_absence", lambda: None)
        (tmp_path / "package").mkdir()
        with pytest.raises(CheckpointCorrupt, match="stands where a package is to be made"):
            measure_for_record(
                tiny_checkpoints["llama"], package=tmp_path / "package", rule=RULE, surroundings=surroundings
            )

    @pytest.mark.slow
    def test_on_the_edge(self, tmp_path, tiny_checkpoints, surroundings):
        """A package is made once, measured, found again, and the figure is the edge runtime's."""
        pytest.importorskip("executorch", reason="the extra `edge` is not installed")
        package = tmp_path / "package"
        times = []
        for _ in range(2):
            found = measure_for_record(tiny_checkpoints["llama"], package=package, rule=RULE, surroundings=surroundings)
            assert found.performance.runtime.startswith("executorch ")
            times.append((package / "package.json").stat().st_mtime_ns)
        assert times[0] == times[1]
