from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.corpora.door import DataDoor, DoorSettings
from harness.corpora.encoding import PLAIN_PROMPT, encode
from harness.corpora.rows import Sample
from harness.corpora.windows import pack
from harness.errors import DataNotAllowed, UsageError
from harness.rules.edition import DataRule

C4 = DataRule(hub_id="allenai/c4", revision="abc", data_schema="c4")
BOS, EOS = 0, 1


def door_on(folder, documents):
    path = folder / "c4.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    return DataDoor(DoorSettings(rules={"c4": C4}, local={"c4": str(path)}))


def document(text):
    return Sample(text=text, prompt=None, data="c4", row=0)


def answer(text, prompt="Say."):
    return Sample(text=text, prompt=prompt, data="alpaca", row=0)


class TestEncode:
    def test_a_document_begins_and_ends(self, tokenizer):
        """Text between beginning and end, all of it to be learnt."""
        (encoded,) = encode(tokenizer, [document("héllo")])
        assert (encoded.token_ids[0], encoded.token_ids[-1]) == (BOS, EOS)
        assert tokenizer.decode(encoded.token_ids[1:-1]) == "héllo"
        assert encoded.prompt_token_count == 0

    def test_the_prompt_is_encoded_as_at_inference(self, tokenizer):
        """What comes before the answer is exactly what the model is given when it is asked."""
        (encoded,) = encode(tokenizer, [answer("Hi.")])
        turn = [{"role": "user", "content": "Say."}]
        asked = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=False)
        assert encoded.token_ids[: encoded.prompt_token_count] == asked
        assert tokenizer.decode(encoded.token_ids[encoded.prompt_token_count :]) == "Hi.<eos>"

    def test_without_a_template_the_headings_stand_in(self, tokenizer, monkeypatch):
        """A base model gets plain headings, a beginning and an end."""
        monkeypatch.setattr(tokenizer, "chat_template", None)
        (encoded,) = encode(tokenizer, [answer("Hi.")])
        expected = f"<bos>{PLAIN_PROMPT.format(prompt='Say.')}Hi.<eos>"
        assert tokenizer.decode(encoded.token_ids) == expected

    def test_a_template_at_odds_with_itself_is_an_error(self, tokenizer, monkeypatch):
        """Where the prompt cannot be told from the answer, nothing is guessed."""
        monkeypatch.setattr(
            tokenizer, "chat_template", "{{ messages[0]['content'] }}{% if add_generation_prompt %}>{% endif %}"
        )
        with pytest.raises(UsageError, match="generation prompt"):
            encode(tokenizer, [answer("Hi.")])

    @given(st.lists(st.text(min_size=1, max_size=20), max_size=8))
    def test_together_is_as_one_by_one(self, tokenizer, texts):
        """Encoding in batches changes nothing."""
        samples = [document(text) for text in texts]
        assert encode(tokenizer, samples) == [encode(tokenizer, [sample])[0] for sample in samples]


class TestPack:
    @settings(deadline=None)
    @given(
        st.lists(st.text("abcdé", min_size=1, max_size=30), min_size=1, max_size=12),
        st.integers(2, 9),
        st.integers(1, 20),
    )
    def test_every_token_once_and_in_order(self, tokenizer, tmp_path_factory, documents, window_tokens, window_count):
        """The windows, read one after the other, are the samples of the split, one after the other, pass after pass."""
        folder = tmp_path_factory.mktemp("pack")
        door = door_on(folder, documents)
        train = list(door_on(folder, documents).open("c4"))
        if not train:
            return
        sizes = {"window_tokens": window_tokens, "window_count": window_count}
        made = pack(door, {"c4": 1.0}, tokenizer, **sizes, seed=0, path=folder / "windows")
        once = [token for encoded in encode(tokenizer, train) for token in encoded.token_ids]
        needed = window_tokens * window_count
        assert made.token_ids.shape == (window_count, window_tokens)
        assert made.token_ids.ravel().tolist() == (once * (needed // len(once) + 1))[:needed]
        assert sum(entry.token_count for entry in door.ledger().entries) == needed

    def test_shares_follow_the_weights(self, tokenizer, settings, tmp_path):
        """Token shares are the weights' to within a sample, and both take turns from the first windows on."""
        door = DataDoor(settings)
        path = tmp_path / "windows"
        made = pack(door, {"c4": 3, "alpaca": 1}, tokenizer, window_tokens=100, window_count=1000, seed=0, path=path)
        counts = {entry.data: entry.token_count for entry in door.ledger().entries}
        assert sum(counts.values()) == made.token_ids.size
        assert counts["c4"] / made.token_ids.size == pytest.approx(0.75, abs=0.03)
        users = np.flatnonzero(made.token_ids.ravel() == 2) / made.token_ids.size
        assert (users < 0.25).any()
        assert (users > 0.75).any()

    def test_the_mask_marks_answers(self, tokenizer, settings, tmp_path):
        """With the loss on responses no token from <user> to <assistant> counts, and documents count whole."""
        sizes = {"window_tokens": 64, "window_count": 200}
        mixture = {"c4": 1, "alpaca": 1}
        both = [
            pack(DataDoor(settings), mixture, tokenizer, **sizes, seed=0, path=tmp_path / on, loss_on=on)
            for on in ("all", "response")
        ]
        assert both[0].loss_mask is None
        assert np.array_equal(both[0].token_ids, both[1].token_ids)
        counts, asked, expected = both[1].loss_mask.ravel(), False, []
        for place, token in enumerate(both[1].token_ids.ravel()):
            beginning = both[1].token_ids.ravel()[place : place + 2].tolist() == [0, 2]
            asked = asked or beginning
            expected.append(not asked)
            asked = asked and token != 3
        assert counts.tolist() == expected

    def test_the_seed_decides_the_bytes(self, tokenizer, settings, tmp_path):
        """Same seed, same file; another seed, another order."""
        sizes = {"window_tokens": 32, "window_count": 100}
        mixture = {"c4": 1, "alpaca": 1}
        files = []
        for name, seed in (("a", 0), ("b", 0), ("c", 1)):
            pack(DataDoor(settings), mixture, tokenizer, **sizes, seed=seed, path=tmp_path / name)
            files.append((tmp_path / name / "token_ids.bin").read_bytes())
        assert files[0] == files[1]
        assert files[0] != files[2]

    def test_is_made_once_and_keeps_its_ledger(self, tokenizer, settings, tmp_path):
        """A second call reads nothing, and its door still tells what was read."""
        request = {"window_tokens": 32, "window_count": 50, "seed": 0, "path": tmp_path / "windows"}
        doors = [DataDoor(settings), DataDoor(settings)]
        pack(doors[0], {"c4": 1}, tokenizer, **request)
        before = (tmp_path / "windows" / "token_ids.bin").stat()
        pack(doors[1], {"c4": 1}, tokenizer, **request)
        assert (tmp_path / "windows" / "token_ids.bin").stat().st_mtime_ns == before.st_mtime_ns
        assert doors[0].ledger() == doors[1].ledger() != DataDoor(settings).ledger()

    def test_other_windows_are_made_anew(self, tokenizer, settings, tmp_path):
        """What stands is used for the same request alone."""
        for count in (50, 40):
            made = pack(
                DataDoor(settings),
                {"c4": 1},
                tokenizer,
                window_tokens=32,
                window_count=count,
                seed=0,
                path=tmp_path / "w",
            )
            assert len(made) == count

    def test_is_whole_or_absent(self, tokenizer, settings, tmp_path):
        """Interrupted packing leaves no windows behind, and the next call makes the same ones."""

        def interrupt(label, done, total, detail=""):
            if done > total // 2:
                raise KeyboardInterrupt

        request = {"window_tokens": 32, "window_count": 50, "seed": 0, "path": tmp_path / "windows"}
        with pytest.raises(KeyboardInterrupt):
            pack(DataDoor(settings), {"c4": 1}, tokenizer, **request, progress=interrupt)
        assert not (tmp_path / "windows").exists()
        made = pack(DataDoor(settings), {"c4": 1}, tokenizer, **request)
        whole = pack(DataDoor(settings), {"c4": 1}, tokenizer, **{**request, "path": tmp_path / "other"})
        assert np.array_equal(made.token_ids, whole.token_ids)

    def test_an_empty_data_set_is_an_error(self, tokenizer, tmp_path):
        """Nothing is packed from nothing, and nothing waits forever."""
        with pytest.raises(DataNotAllowed, match="has no sample"):
            pack(
                door_on(tmp_path, ["", " "]), {"c4": 1}, tokenizer, window_tokens=4, window_count=1, seed=0,
                path=tmp_path / "w",
            )  # fmt: skip

    @pytest.mark.parametrize("mixture", [{}, {"c4": 0}, {"c4": -1.0}, {"c4": float("nan")}, {"c4": float("inf")}])
    def test_weights_are_positive(self, tokenizer, settings, tmp_path, mixture):
        """A mixture without sense is told as such."""
        with pytest.raises(ValueError, match="positive weights"):
            pack(DataDoor(settings), mixture, tokenizer, window_tokens=4, window_count=1, seed=0, path=tmp_path / "w")
