"""The answering loop, against ``generate``; and the journal under a kill."""

from __future__ import annotations

import json

import pytest
import torch

from harness.toolchains.opencompass.worker.engine.answering import NotFinite
from harness.toolchains.opencompass.worker.engine.journal import Journal
from harness.toolchains.opencompass.worker.engine.lean import LeanDecoder
from harness.toolchains.opencompass.worker.engine.whole import WholeDecoder


def journal(folder, **surroundings):
    return Journal(folder, "model", surroundings)


class Killed(Exception):
    pass


class Dying:
    """A decoder whose process is killed at the given batch."""

    def __init__(self, decoder, batch):
        self._decoder, self._left = decoder, batch
        self.name = "dying"
        self.share, self.step, self.keep = decoder.share, decoder.step, decoder.keep

    def begin(self, shared, rows, max_new_tokens):
        if self._left == 0:
            raise Killed
        self._left -= 1
        return self._decoder.begin(shared, rows, max_new_tokens)


@pytest.mark.parametrize("kind", [LeanDecoder, WholeDecoder])
class TestAnswering:
    @pytest.mark.parametrize("rows", [1, 5, 64])
    def test_answers_what_generate_answers(self, model, prompts, kind, rows, answering, generated, wanted):
        """Token for token in the order of the prompts, whatever the size of the batches."""
        theirs = [generated(model, prompt, 12) for prompt in prompts]
        answers = answering(kind(model), rows).answer(prompts, wanted(12))
        assert [answer.token_ids for answer in answers] == theirs
        assert {answer.ended_by for answer in answers} == {"limit"}

    def test_ends_at_an_end_of_sequence(self, llama, prompts, kind, answering, generated, wanted):
        """Rows end at different steps; the others are not disturbed."""
        free = [generated(llama, prompt, 12) for prompt in prompts]
        eos = {answer[step] for step, answer in enumerate(free)}
        theirs = [generated(llama, prompt, 12, eos_token_id=sorted(eos)) for prompt in prompts]
        answers = answering(kind(llama), 64).answer(prompts, wanted(12, eos=eos))
        assert [answer.token_ids for answer in answers] == theirs
        assert len({len(answer.token_ids) for answer in answers}) > 2

    def test_knows_the_repetition_penalty(self, llama, prompts, kind, answering, generated, wanted):
        """As transformers applies it, prompt included."""
        theirs = [generated(llama, prompt, 12, repetition_penalty=1.5) for prompt in prompts]
        answers = answering(kind(llama)).answer(prompts, wanted(12, penalty=1.5))
        assert [answer.token_ids for answer in answers] == theirs

    def test_refuses_logits_that_are_not_finite(self, llama, prompts, kind, answering, wanted):
        """Of a model that breaks down on the prompt, or only later."""
        llama.model.layers[1].mlp.down_proj.weight.data[0, 0] = torch.nan
        with pytest.raises(NotFinite):
            answering(kind(llama)).answer(prompts, wanted(3))


class TestStops:
    def test_an_early_end_is_a_beginning_of_the_whole_answer(self, llama, prompts, answering, wanted):
        """And only where the rule holds for the text so far."""

        def decode(token_ids):
            return "".join(chr(token_id) for token_id in token_ids)

        whole = answering(LeanDecoder(llama)).answer(prompts, wanted(40))
        early = answering(LeanDecoder(llama)).answer(
            prompts, wanted(40, decode=decode, early_rule="first_capital_postprocess")
        )
        ended = [answer for answer in early if answer.ended_by == "early"]
        assert ended
        for short, long in zip(early, whole, strict=True):
            assert long.token_ids[: len(short.token_ids)] == short.token_ids
        assert all(any(character.isupper() for character in decode(answer.token_ids)) for answer in ended)


class TestJournal:
    @pytest.mark.parametrize("batch", [0, 1, 2])
    def test_a_killed_run_goes_on_to_the_same_answers(self, llama, prompts, tmp_path, batch, answering, wanted):
        """At whatever batch it was killed; what was finished is not computed again."""
        decoder = LeanDecoder(llama)
        uninterrupted = answering(decoder).answer(prompts, wanted())
        with pytest.raises(Killed):
            answering(Dying(decoder, batch), journal=journal(tmp_path)).answer(prompts, wanted())
        second = answering(decoder, journal=journal(tmp_path))
        assert second.answer(prompts, wanted()) == uninterrupted
        assert (second.recalled > 0) == (batch > 0)
        third = answering(Dying(decoder, 0), journal=journal(tmp_path))
        assert third.answer(prompts, wanted()) == uninterrupted
        assert third.recalled == len(set(prompts))

    @pytest.mark.parametrize("cut", [1, 7, 200, 900])
    def test_a_torn_end_is_ignored(self, llama, prompts, tmp_path, cut, answering, wanted):
        """However many bytes of it are missing; a batch without all its rows is computed again."""
        decoder = LeanDecoder(llama)
        whole = answering(decoder, journal=journal(tmp_path)).answer(prompts, wanted())
        file = next(tmp_path.iterdir())
        content = file.read_bytes()
        file.write_bytes(content[:-cut])
        again = answering(decoder, journal=journal(tmp_path))
        assert again.answer(prompts, wanted()) == whole
        assert again.recalled < len(set(prompts))
        assert all(json.loads(line) for line in file.read_text().splitlines())

    @pytest.mark.parametrize("changes", [{"max_new_tokens": 5}, {"eos": (9,)}, {"penalty": 1.1}, {"cut_words": ("x",)}])
    def test_answers_to_another_question_are_not_taken(self, llama, prompts, tmp_path, changes, answering, wanted):
        """Another limit, another stop, another penalty."""
        answering(LeanDecoder(llama), journal=journal(tmp_path)).answer(prompts, wanted())
        other = answering(LeanDecoder(llama), journal=journal(tmp_path))
        other.answer(prompts, wanted(**changes))
        assert other.recalled == 0

    def test_other_surroundings_have_another_file(self, tmp_path):
        """Versions, dtype, device: what is not in the prompt."""
        paths = {journal(tmp_path, torch=version)._path for version in ("1", "2", "1")}
        assert len(paths) == 2
