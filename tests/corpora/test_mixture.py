from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.corpora.curriculum import Curriculum, Phase
from harness.corpora.derived import derived_share
from harness.corpora.door import DataDoor, DoorSettings
from harness.corpora.feeds import Derived, Part
from harness.corpora.rows import Sample
from harness.corpora.windows import pack
from harness.errors import DataNotAllowed
from harness.rules.edition import DataRule

RULES = {name: DataRule(hub_id=f"some/{name}", revision="abc", data_schema="c4") for name in ("long", "short", "other")}
SIZES = {"window_tokens": 10, "window_count": 60}
TOTAL = 600
MADE = "rules:tests@1"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Three data sets of documents of 8 bytes: with beginning and end, 10 tokens each."""
    folder = tmp_path_factory.mktemp("data")
    local = {}
    for name, count in (("long", 400), ("short", 12), ("other", 400)):
        path = folder / f"{name}.jsonl"
        rows = ({"text": f"{name[0]}{number:07d}"} for number in range(count))
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        local[name] = str(path)
    return DoorSettings(rules=RULES, local=local)


def derived(count, max_token_share=0.2, **changes):
    samples = [Sample(text=f"d{number:07d}", prompt=None, data="long", row=number) for number in range(count)]
    return replace(Derived(data="long", samples=samples, parents=(MADE,), max_token_share=max_token_share), **changes)


def taken(door):
    """Passes, tokens and the rows of each data set."""
    passes, tokens = Counter(), Counter()
    for entry in door.ledger().entries:
        name = "derived" if entry.parents else entry.data
        passes[name] += 1
        tokens[name] += entry.token_count
    return passes, tokens


def texts(windows, tokenizer):
    return tokenizer.decode(windows.token_ids.ravel().tolist()).replace("<bos>", "").split("<eos>")


class TestCaps:
    @hypothesis_settings(deadline=None, max_examples=20)
    @given(cap=st.integers(1, 4), weight=st.floats(0.2, 5), seed=st.integers(0, 9))
    def test_no_more_passes_than_the_cap(self, tokenizer, settings, tmp_path_factory, cap, weight, seed):
        """The capped data set is read so often at most, and the other makes up what is missing."""
        door, path = DataDoor(settings), tmp_path_factory.mktemp("w") / "windows"
        mixture = {"long": 1, "short": weight}
        pack(door, mixture, tokenizer, **SIZES, seed=seed, path=path, caps={"short": cap})
        passes, tokens = taken(door)
        assert passes["short"] <= cap
        assert sum(tokens.values()) == TOTAL
        wanted = TOTAL * weight / (1 + weight)
        once = sum(len(sample.text) + 2 for sample in DataDoor(settings).open("short"))
        assert tokens["short"] == pytest.approx(min(wanted, cap * once), abs=20)

    def test_the_rest_goes_by_weights(self, tokenizer, settings, tmp_path):
        """What the spent data set owed is shared by the others as their weights are."""
        door = DataDoor(settings)
        mixture = {"long": 3, "other": 1, "short": 6}
        pack(door, mixture, tokenizer, **SIZES, seed=0, path=tmp_path / "w", caps={"short": 1})
        _, tokens = taken(door)
        rest = TOTAL - tokens["short"]
        assert tokens["long"] == pytest.approx(0.75 * rest, abs=20)

    def test_a_cap_that_is_not_reached_changes_nothing(self, tokenizer, settings, tmp_path):
        """The bytes are those of the mixture without it."""
        made = [
            pack(DataDoor(settings), {"long": 9, "short": 1}, tokenizer, **SIZES, seed=0, path=tmp_path / name, **more)
            for name, more in (("a", {}), ("b", {"caps": {"short": 50}}))
        ]
        assert (made[0].token_ids == made[1].token_ids).all()
        assert made[0].key != made[1].key

    def test_resumed_equals_uninterrupted(self, tokenizer, settings, tmp_path):
        """Killed after the cap was reached, the same windows and the same ledger come out."""

        def kill(label, done, total, detail=""):
            if done > 0.8 * total:
                raise KeyboardInterrupt

        request = {**SIZES, "seed": 3, "caps": {"short": 2}}
        mixture = {"long": 1, "short": 1}
        doors = [DataDoor(settings), DataDoor(settings), DataDoor(settings)]
        whole = pack(doors[0], mixture, tokenizer, **request, path=tmp_path / "whole")
        with pytest.raises(KeyboardInterrupt):
            pack(doors[1], mixture, tokenizer, **request, path=tmp_path / "cut", progress=kill)
        again = pack(doors[2], mixture, tokenizer, **request, path=tmp_path / "cut")
        assert (again.token_ids == whole.token_ids).all()
        assert doors[2].ledger() == doors[0].ledger()

    def test_too_few_tokens_are_told(self, tokenizer, settings, tmp_path):
        """Where every data set is spent, it is said how much is missing."""
        with pytest.raises(DataNotAllowed, match="tokens are missing"):
            pack(DataDoor(settings), {"short": 1}, tokenizer, **SIZES, seed=0, path=tmp_path / "w", caps={"short": 1})
        assert not (tmp_path / "w").exists()

    @pytest.mark.parametrize(("caps", "said"), [({"short": 0}, "at least 1"), ({"shrot": 2}, "shrot")])
    def test_caps_make_sense(self, tokenizer, settings, tmp_path, caps, said):
        """A cap below a pass, or for what is not mixed, is refused."""
        with pytest.raises(ValueError, match=said):
            pack(DataDoor(settings), {"short": 1}, tokenizer, **SIZES, seed=0, path=tmp_path / "w", caps=caps)


class TestDerived:
    def test_enters_with_its_parents(self, tokenizer, settings, tmp_path):
        """The ledger has the tokens under the parents, also where the windows stood already."""
        request = {**SIZES, "seed": 0, "path": tmp_path / "w", "named": {"made": derived(100)}}
        doors = [DataDoor(settings), DataDoor(settings)]
        for door in doors:
            pack(door, {"long": 0.9, "made": 0.1}, tokenizer, **request)
            assert derived_share(door.ledger().entries, "rules") == pytest.approx(0.1, abs=0.03)
            assert sum(entry.token_count for entry in door.ledger().entries) == TOTAL
        assert sorted(map(str, doors[0].ledger().entries)) == sorted(map(str, doors[1].ledger().entries))

    @hypothesis_settings(deadline=None, max_examples=20)
    @given(share=st.floats(0.01, 0.5), seed=st.integers(0, 9))
    def test_stays_below_its_share(self, tokenizer, settings, tmp_path_factory, share, seed):
        """However the draws fall, derived tokens are below the bound, even when they are planned just below it."""
        door, path = DataDoor(settings), tmp_path_factory.mktemp("w") / "w"
        planned = share * (1 - 1e-6)
        named = {"made": derived(100, max_token_share=share)}
        pack(door, {"long": 1 - planned, "made": planned}, tokenizer, **SIZES, seed=seed, path=path, named=named)
        assert derived_share(door.ledger().entries, "rules") < share

    def test_does_not_take_what_others_leave(self, tokenizer, settings, tmp_path):
        """What a spent data set owed goes to data sets, not to derived samples."""
        door = DataDoor(settings)
        mixture = {"long": 0.1, "made": 0.1, "short": 0.8}
        pack(
            door,
            mixture,
            tokenizer,
            **SIZES,
            seed=0,
            path=tmp_path / "w",
            caps={"short": 1},
            named={"made": derived(99)},
        )
        assert taken(door)[1]["derived"] == pytest.approx(60, abs=10)

    def test_too_large_a_share_is_refused(self, tokenizer, settings, tmp_path):
        """A plan at the bound is told before anything is read."""
        named = {"made": derived(10, max_token_share=0.1)}
        with pytest.raises(ValueError, match=r"below 10\.00%"):
            pack(
                DataDoor(settings), {"long": 9, "made": 1}, tokenizer, **SIZES, seed=0, path=tmp_path / "w", named=named
            )

    def test_other_samples_are_other_windows(self, tokenizer, settings, tmp_path):
        """What stands is used for the same samples alone."""
        request = {**SIZES, "seed": 0, "path": tmp_path / "w"}
        keys = {
            pack(DataDoor(settings), {"long": 0.9, "made": 0.1}, tokenizer, **request, named={"made": derived(n)}).key
            for n in (50, 60)
        }
        assert len(keys) == 2

    @pytest.mark.parametrize("changes", [{"parents": ()}, {"parents": ("gpt-4",)}, {"max_token_share": 0.0}])
    def test_says_what_it_needs(self, changes):
        """Samples without parents of a known form, or without a bound, are refused."""
        with pytest.raises(ValueError, match=r"parents|max_token_share"):
            derived(1, **changes)


class TestPart:
    def test_two_parts_of_one_data_set(self, tokenizer, settings, tmp_path):
        """Each name draws what its sieve leaves, and the ledger has both under the data set."""

        def part(odd):
            sieve = lambda sample: sample if int(sample.text[1:]) % 2 == odd else None  # noqa: E731
            return Part(data="long", make_sieve=lambda: sieve, key=str(odd))

        door = DataDoor(settings)
        named = {"odd": part(1), "even": part(0)}
        made = pack(door, {"odd": 3, "even": 1}, tokenizer, **SIZES, seed=0, path=tmp_path / "w", named=named)
        numbers = [int(text[1:]) for text in texts(made, tokenizer) if len(text) == 8]
        assert sum(number % 2 for number in numbers) / len(numbers) == pytest.approx(0.75, abs=0.05)
        assert {entry.data for entry in door.ledger().entries} == {"long"}


class TestCurriculum:
    def test_the_windows_follow_the_phases(self, tokenizer, settings, tmp_path):
        """The decay stage's data comes after its beginning only, to within a sample."""
        plan = Curriculum(phases=(
            Phase(until=0.75, mixture={"long": 1}),
            Phase(until=1, mixture={"long": 1, "other": 1}),
        ))  # fmt: skip
        made = pack(DataDoor(settings), plan, tokenizer, **SIZES, seed=0, path=tmp_path / "w")
        firsts = [text[0] for text in texts(made, tokenizer) if text]
        assert "o" not in firsts[:45]
        assert firsts[45:].count("o") == pytest.approx(7.5, abs=2)

    @given(st.lists(st.floats(0.001, 0.999), unique=True, max_size=5), st.integers(1, 10_000))
    def test_every_token_has_one_mixture(self, ends, total):
        """The stages have all tokens, and a token's mixture is its phase's."""
        ends = [*sorted(ends), 1.0]
        plan = Curriculum(phases=tuple(Phase(until=end, mixture={f"d{n}": 1}) for n, end in enumerate(ends)))
        assert sum(count for count, _ in plan.stages(total)) == total
        for token in {0, total // 2, total - 1}:
            name = int(plan.mixture_at(token, total)[0][0][1:])
            begins = ends[name - 1] if name else 0.0
            assert begins * total - 1 <= token <= ends[name] * total + 1

    def test_one_phase_is_a_mixture(self, tokenizer, settings, tmp_path):
        """A curriculum of one phase gives the bytes of its mixture."""
        mixture = {"long": 2, "other": 1}
        plan = Curriculum(phases=(Phase(until=1, mixture=mixture),))
        made = [
            pack(DataDoor(settings), what, tokenizer, **SIZES, seed=0, path=tmp_path / name)
            for name, what in (("a", mixture), ("b", plan))
        ]
        assert (made[0].token_ids == made[1].token_ids).all()
        assert made[0].key == made[1].key

    @pytest.mark.parametrize("ends", [(0.5,), (0.5, 0.5, 1), (0.8, 0.4, 1), (1, 1)])
    def test_phases_ascend_to_the_end(self, ends):
        """Others are refused."""
        with pytest.raises(ValidationError, match=r"phases must end"):
            Curriculum(phases=tuple(Phase(until=end, mixture={"a": 1}) for end in ends))
