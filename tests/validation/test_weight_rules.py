"""Rules about what lies in a checkpoint's files: each is found at its very byte, and sound checkpoints are silent."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.checkpoint import blocks
from harness.checkpoint.blocks import read_fully
from harness.checkpoint.checkpoint import list_files
from harness.checkpoint.header import LENGTH_BYTES, read_header
from harness.errors import CheckpointCorrupt
from harness.pico import catalogue as pico
from harness.rules.edition import load_edition
from harness.rules.finding import Severity
from harness.validation import value_scan
from harness.validation.catalogue import rules
from harness.validation.checks import weights
from harness.validation.run import validate
from tests.validation.violations import final
from tests.validation.violations_weights import (
    BYTES,
    CLAIMED,
    DOWN,
    INHERITED,
    SHARD,
    SIZES,
    WEIGHTS_VIOLATIONS,
    half_quantised,
    int4,
    rewrite,
    write_llama,
    write_structured,
)

FAMILIES = {"precision", "weights", "structure"}
EVERY = WEIGHTS_VIOLATIONS | INHERITED | CLAIMED
CASES = [
    pytest.param(rule, violation, id=f"{rule}-{number}")
    for rule, violations in EVERY.items()
    for number, violation in enumerate(violations)
]


def byte_of(file, place):
    """The byte of the element that ``place`` names, by the header; of a file that ends early, its end."""
    try:
        entry = next(one for one in read_header(file).tensors if one.name == place.tensor)
    except CheckpointCorrupt:
        return None
    return entry.start + place.index * (entry.size_bytes // entry.element_count)


class TestFamilies:
    def test_every_rule_has_a_violating_fixture(self):
        """A rule of these families without one fails here."""
        assert set(EVERY) == {rule for rule, one in rules().items() if one.family in FAMILIES}

    @pytest.mark.parametrize(("rule", "violation"), CASES)
    def test_found_at_the_exact_byte(self, made, rule, violation):
        """The finding names file, tensor and element, and the byte is that element's; no other rule is disturbed."""
        violation.breaks(made)
        report = validate(made.path, weights=made.weights)
        found = [one for one in report.findings if one.rule == rule]
        assert {one.rule for one in report.findings} == {rule} | violation.also, report.findings
        assert [one.place.model_copy(update={"byte_offset": None}) for one in found] == [
            place.model_copy(update={"byte_offset": None}) for place in violation.places
        ]
        for one, place in zip(found, violation.places, strict=True):
            assert (one.place.byte_offset is None) == (place.byte_offset is None)
            if place.tensor and place.index is not None and place.file == SHARD:
                assert one.place.byte_offset == byte_of(final(made) / "model.safetensors", place)

    @pytest.mark.parametrize("write", [write_llama, write_structured])
    def test_a_sound_checkpoint_is_silent(self, made, write):
        """A whole checkpoint, plain or structured, breaks none of these rules but those about the record."""
        write(final(made))
        found = {one.rule for one in validate(made.path, weights=made.weights).findings}
        assert {rule for rule in found if rule.partition(".")[0] in FAMILIES} <= SIZES


class TestCorrupt:
    def test_a_truncated_shard_names_the_end_and_what_is_lost(self, made):
        """The first byte that is missing, and the first tensor that lacks it."""
        file = final(made) / "model.safetensors"
        content = file.read_bytes()
        first = read_header(file).tensors[0]
        file.write_bytes(content[: first.stop - 3])
        found = [one for one in validate(made.path, weights=made.weights).findings if one.rule == "weights.corrupt"]
        assert [(one.place.tensor, one.place.byte_offset) for one in found] == [(first.name, first.stop - 3)]

    def test_an_overlap_names_the_byte_at_which_the_tensor_begins(self, made):
        """Where the second of two tensors is said to begin."""
        overlap = WEIGHTS_VIOLATIONS["weights.corrupt"][2]
        start = read_header(final(made) / "model.safetensors").tensors[1].start
        overlap.breaks(made)
        content = (final(made) / "model.safetensors").read_bytes()
        moved = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
        found = next(one for one in validate(made.path, weights=made.weights).findings if one.rule == "weights.corrupt")
        data_start = start - 32 * 8 * 2
        assert found.place.byte_offset == moved + (start - data_start) - 16


class TestReading:
    def test_a_bundles_weights_are_read_once(self, made, monkeypatch):
        """Digest, NaN, saturation and zeros come from one read of every byte, and none is left out."""
        write_llama(final(made))
        reads = Counter()

        def counted(descriptor, array, offset, path):
            reads[path] += array.nbytes
            read_fully(descriptor, array, offset, path)

        monkeypatch.setattr(blocks, "read_fully", counted)
        listed = []
        monkeypatch.setattr(weights, "list_files", lambda path: listed.append(path) or list_files(path))
        validate(made.path, weights=made.weights, checks=weights.CHECKS)
        assert {path: reads[path] for path in final(made).iterdir()} == {
            path: path.stat().st_size for path in final(made).iterdir()
        }
        assert final(made) not in listed

    def test_weights_without_a_record_are_not_digested(self, made, monkeypatch):
        """Nobody claims a digest of a Hugging Face folder, so none is worked out; its values are looked at."""
        rewrite(final(made), lambda tensors: tensors.update({DOWN: np.full((128, 256), np.nan, np.float16)}))
        for module, name in ((weights, "list_files"), (value_scan, "scan_and_list")):
            monkeypatch.setattr(module, name, lambda path: pytest.fail(f"{path} is digested"))
        found = [one.rule for one in validate(final(made), checks=weights.CHECKS).findings]
        assert "weights.nonfinite" in found

    def test_a_broken_layout_keeps_its_digests(self, made):
        """Where the values are out of reach, the files that are not the measured ones are named all the same."""
        file = final(made) / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-3])
        found = {one.rule for one in validate(made.path, weights=made.weights, checks=weights.CHECKS).findings}
        assert {"weights.digest", "weights.corrupt"} <= found


class TestSeverity:
    def test_partly_quantised_is_suspected(self, made):
        """Where few groups lie on a lattice a judge should look; where most do, the rule is broken."""
        weight = half_quantised((128, 256))
        rewrite(final(made), lambda tensors: tensors.update({DOWN: weight}))
        found = [one for one in validate(made.path, weights=made.weights).findings if one.rule == "precision.lattice"]
        assert [one.severity for one in found] == [Severity.WARNING]

    def test_nothing_to_find_where_quantisation_is_allowed(self, made):
        """Under the open edition a rounded weight is what the recipe asked for."""
        rewrite(final(made), lambda tensors: tensors.update({DOWN: int4((128, 128))}))
        found = {
            edition: {
                one.rule for one in validate(made.path, weights=made.weights, edition=load_edition(edition)).findings
            }
            for edition in ("demo", "open")
        }
        assert "precision.lattice" in found["demo"]
        assert "precision.lattice" not in found["open"]


class TestPico:
    @pytest.mark.parametrize("name", sorted(pico.shipped_digests()))
    def test_an_embedded_model_is_sound(self, made, name):
        """The models that the harness ships break none of these rules."""
        for file in pico.path(name).iterdir():
            (final(made) / file.name).write_bytes(file.read_bytes())
        found = {one.rule for one in validate(made.path, weights=made.weights).findings}
        assert {rule for rule in found if rule.partition(".")[0] in FAMILIES} <= SIZES


class TestVectors:
    def test_norms_and_biases_are_not_judged(self, made):
        """A trained norm has few different values by itself."""
        rewrite(
            final(made),
            lambda tensors: tensors.update({"model.norm.weight": np.tile(np.array([1, 2], np.float16), 4096)}),
        )
        found = {one.rule for one in validate(made.path, weights=made.weights).findings}
        assert found == BYTES | SIZES


def test_a_wide_shard_costs_no_memory_of_its_width(tmp_path):
    """Of a row of a million values only a window is read."""
    from harness.validation.smuggling.sampling import suspects

    save_file(
        {"w": np.random.default_rng(0).standard_normal((2, 1 << 20)).astype(np.float16)}, tmp_path / "m.safetensors"
    )
    header = read_header(tmp_path / "m.safetensors")
    assert list(suspects(header, header.tensors[-1].stop)) == []
    assert json.dumps([entry.shape for entry in header.tensors]) == "[[2, 1048576]]"
