"""The record survives its own JSON, whatever numbers and texts it holds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.submission.measurements import BitsPerByte, Evaluation, Measurements, Performance, SubsetScore, TaskScore
from harness.submission.model_result import CheckpointRecord, CheckpointResult, FileRecord, StepRecord
from harness.submission.schema import Submission

numbers = st.floats(allow_nan=False)
counts = st.integers(0, 10**15)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
subsets = st.builds(SubsetScore, name=texts, score=numbers, item_count=counts)
task_scores = st.builds(
    TaskScore,
    task=texts,
    column=texts,
    metric=texts,
    scale=numbers,
    score=numbers,
    item_count=counts,
    standard_error=st.none() | numbers,
    subsets=st.lists(subsets, max_size=2).map(tuple),
    items_file=st.none() | texts,
)
evaluations = st.builds(
    Evaluation,
    engine=texts,
    engine_version=texts,
    suite=texts,
    item_limit=st.none() | counts,
    tasks=st.lists(task_scores, max_size=2).map(tuple),
    checkpoint_digest=digests,
)
bits_per_byte = st.builds(
    BitsPerByte,
    data=texts,
    split=texts,
    value=numbers,
    standard_error=numbers,
    byte_count=counts,
    token_count=counts,
    window_count=counts,
    window_tokens=counts,
    checkpoint_digest=digests,
)
performances = st.builds(
    Performance,
    runtime=texts,
    device=texts,
    dtype=texts,
    thread_count=counts,
    prefill_tokens=counts,
    decode_tokens=counts,
    repeats=counts,
    prefill_tokens_per_s=numbers,
    decode_tokens_per_s=numbers,
    time_to_first_token_s=numbers,
    peak_memory_bytes=st.integers(-(2**60), 2**60),
    memory_method=texts,
    decode_tokens_per_s_samples=st.lists(numbers, max_size=3).map(tuple),
    checkpoint_digest=digests,
)
files = st.builds(FileRecord, name=texts, size_bytes=counts, sha256=digests)
checkpoints = st.builds(
    CheckpointRecord,
    checkpoint_digest=digests,
    parameter_count=counts,
    weights_bytes=counts,
    dtypes=st.lists(texts, max_size=2).map(tuple),
    files=st.lists(files, max_size=2).map(tuple),
    location=st.none() | texts,
)
results = st.builds(
    CheckpointResult,
    role=st.sampled_from(["base", "compressed", "final", "control"]),
    checkpoint=checkpoints,
    measurements=st.builds(
        Measurements,
        bits_per_byte=st.none() | bits_per_byte,
        evaluation=st.none() | evaluations,
        performance=st.none() | performances,
    ),
)
steps = st.builds(
    StepRecord,
    stage=st.sampled_from(["compress", "train"]),
    method=texts,
    key=digests,
    checkpoint_digest=digests,
    parameter_count=counts,
    duration_s=st.floats(0, 1e9),
    peak_memory_bytes=counts,
    notes=st.dictionaries(texts, json_values, max_size=3),
)


class TestRoundTrip:
    @given(results | steps)
    def test_json_gives_back_the_same_value(self, document):
        """Writing and reading is the identity, and equal values have equal bytes."""
        text = document.model_dump_json(indent=2)
        again = type(document).model_validate_json(text)
        assert again == document
        assert again.model_dump_json(indent=2) == text

    def test_a_number_that_is_none_survives(self, bundle):
        """A NaN is kept as it came, so that a rule can find it, and never becomes null or zero."""
        score = bundle.submission.models[0].checkpoints[2].measurements.evaluation.tasks[0]
        text = score.model_copy(update={"score": float("nan")}).model_dump_json()
        assert json.loads(text)["score"] == "NaN"
        again = TaskScore.model_validate_json(text).score
        assert again != again  # noqa: PLR0124 - only a NaN differs from itself


class TestShape:
    @pytest.mark.parametrize("change", [{"surprise": 1}, {"format_version": 2}, {"models": [{}]}, {"created": "soon"}])
    def test_another_shape_is_refused_with_its_field(self, bundle, change):
        """An unknown field, version or missing part is an error that names the field."""
        record = json.loads(bundle.submission.model_dump_json()) | change
        with pytest.raises(ValidationError) as error:
            Submission.model_validate(record)
        assert {str(fault["loc"][0]) for fault in error.value.errors()} == set(change)

    def test_a_digest_is_64_hexadecimal_digits(self, bundle):
        """A shortened or upper-case digest is no digest."""
        record = json.loads(bundle.submission.model_dump_json())
        for wrong in ("abc", "A" * 64, "0" * 64 + "\n"):
            record["edition"]["rules_digest"] = wrong
            with pytest.raises(ValidationError):
                Submission.model_validate(record)
