"""The divergence, its gradient without whole logits, and a teacher that is asked once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from harness.corpora.windows import Windows
from harness.methods.batches import Batch, read_batch
from harness.methods.distillation import Distilled, FeatureModel, LiveTeacher, NoTeacher, distillation_loss
from harness.methods.divergence import DistillationSettings, TopK, token_losses, top_k_bound, top_k_of
from harness.methods.teacher_cache import CacheSettings, remember, rounding_bound
from harness.methods.training import TrainingSettings, train
from tests.methods.gated import CASES, make_tiny, tokens

SEEDS = st.integers(0, 2**31)


class Killed(Exception):
    pass


def logits(seed, rows=5, vocabulary=40, *, scale=4.0):
    return scale * torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed))


def some_batch():
    """Two windows, some labels of which do not count."""
    token_ids = tokens(3, 10)
    labels = token_ids.masked_fill(torch.arange(10) % 4 == 3, -100)
    return Batch(token_ids=token_ids, labels=labels, indices=np.arange(3))


def plain_loss(student, teacher, batch, settings):
    """The same with whole logits, by autograd."""
    counted = batch.labels[:, 1:] != -100
    warm = settings.temperature
    ours, theirs = (each.logits(batch.token_ids)[:, :-1][counted] for each in (student, teacher))
    kl = functional.kl_div(
        functional.log_softmax(ours / warm, -1),
        functional.log_softmax(theirs.detach() / warm, -1),
        log_target=True,
        reduction="batchmean",
    )
    ce = functional.cross_entropy(ours, batch.labels[:, 1:][counted])
    return settings.kl * warm * warm * kl + settings.ce * ce


@pytest.fixture(params=CASES)
def pair(request, tmp_path):
    return make_tiny(request.param, tmp_path / "s"), make_tiny(request.param, tmp_path / "t", seed=1)


class TestChunked:
    @pytest.mark.parametrize("chunk_logits", [1, 7 * 261, 1 << 22])
    @pytest.mark.parametrize(("ce", "temperature"), [(0.0, 1.0), (0.3, 1.0), (0.3, 2.0)])
    def test_equals_the_plain_loss_and_its_gradients(self, pair, ce, temperature, chunk_logits):
        """Chunks of any size give the loss of whole logits and autograd, for every parameter."""
        student, teacher = pair
        settings = DistillationSettings(kl=0.7, ce=ce, temperature=temperature, chunk_logits=chunk_logits)
        plain = plain_loss(student, teacher, some_batch(), settings)
        wanted = torch.autograd.grad(plain, list(student.model.parameters()))
        found = Distilled(FeatureModel(student.model), LiveTeacher(teacher.model), settings)(some_batch())
        gradients = torch.autograd.grad(found, list(student.model.parameters()))
        torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-5)
        for gradient, expected in zip(gradients, wanted, strict=True):
            torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)

    def test_a_teacher_of_itself_teaches_nothing(self, pair):
        """KL(p, p) is 0 and so is every gradient, to the bit."""
        student, _ = pair
        loss = Distilled(FeatureModel(student.model), LiveTeacher(student.model), DistillationSettings())
        student.model.requires_grad_(requires_grad=True)
        value = loss(some_batch())
        assert value.item() == 0.0
        assert all(not grad.any() for grad in torch.autograd.grad(value, list(student.model.parameters())))

    @pytest.mark.parametrize("ce", [1.0, 0.3])
    def test_the_text_alone_needs_no_teacher(self, pair, ce):
        """Without a divergence the loss and its gradients are those of plain cross-entropy, and nobody is asked."""
        student, _ = pair
        settings = DistillationSettings(kl=0.0, ce=ce, chunk_logits=7 * 261)
        batch = some_batch()
        plain = ce * functional.cross_entropy(
            student.logits(batch.token_ids)[:, :-1].flatten(0, 1), batch.labels[:, 1:].flatten()
        )
        wanted = torch.autograd.grad(plain, list(student.model.parameters()))
        found = Distilled(FeatureModel(student.model), NoTeacher(), settings)(batch)
        torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-5)
        for gradient, expected in zip(
            torch.autograd.grad(found, list(student.model.parameters())), wanted, strict=True
        ):
            torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)

    def test_a_divergence_needs_a_teacher(self):
        """Nothing to learn from is told as such."""
        with pytest.raises(ValueError, match="set kl to 0"):
            token_losses(logits(0), None, torch.zeros(5, dtype=torch.long), DistillationSettings())

    def test_nothing_counted_is_zero(self, pair):
        """A batch of prompts alone teaches nothing and breaks nothing."""
        batch = Batch(token_ids=tokens(), labels=torch.full_like(tokens(), -100))
        assert Distilled(FeatureModel(pair[0].model), LiveTeacher(pair[1].model), DistillationSettings())(batch) == 0


class TestTopK:
    @given(SEEDS, SEEDS, st.integers(1, 40))
    def test_the_remembered_loss_lies_within_its_bound(self, ours, theirs, k):
        """Never above the exact divergence, and below it by at most what is stated."""
        student, teacher = logits(ours), logits(theirs)
        labels, settings = torch.zeros(5, dtype=torch.long), DistillationSettings()
        exact, _ = token_losses(student.clone(), teacher, labels, settings)
        target = top_k_of(teacher, k)
        short, _ = token_losses(student.clone(), target, labels, settings)
        slack = 1e-4 + 1e-4 * exact
        assert (short <= exact + slack).all()
        assert (exact <= short + top_k_bound(student, target) + slack).all()

    @given(SEEDS, SEEDS)
    def test_all_tokens_are_exact(self, ours, theirs):
        """With k the whole vocabulary nothing is lost, neither of the loss nor of its gradient."""
        student, teacher = logits(ours), logits(theirs)
        settings, labels = DistillationSettings(), torch.zeros(5, dtype=torch.long)
        exact = token_losses(student.clone(), teacher, labels, settings)
        found = token_losses(student.clone(), top_k_of(teacher, 40), labels, settings)
        for value, expected in zip(found, exact, strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)

    @given(SEEDS, SEEDS, st.integers(1, 39), st.sampled_from([0.0, 0.4]))
    def test_gradient_is_autograds(self, ours, theirs, k, ce):
        """The closed form of the gradient is the derivative of the loss as written."""
        student, target = logits(ours).double().requires_grad_(), top_k_of(logits(theirs), k)
        labels = torch.arange(5)
        log_q = functional.log_softmax(student, -1)
        tail = torch.ones(5, 40, dtype=torch.bool).scatter(1, target.ids, value=False)
        log_tail = log_q.masked_fill(~tail, -torch.inf).logsumexp(-1)
        loss = -(target.probabilities * log_q.gather(1, target.ids)).sum() - (target.tail * log_tail).sum()
        loss = loss + ce * functional.cross_entropy(student, labels, reduction="sum")
        (wanted,) = torch.autograd.grad(loss, student)
        _, found = token_losses(student.detach().float(), target, labels, DistillationSettings(ce=ce))
        torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-4)

    @given(SEEDS, SEEDS, st.integers(1, 40))
    def test_rounding_to_fp16_stays_within_its_bound(self, ours, theirs, k):
        """What the disk keeps moves the loss by no more than stated."""
        student, target = logits(ours), top_k_of(logits(theirs), k)
        labels, settings = torch.zeros(5, dtype=torch.long), DistillationSettings()
        log_p = target.probabilities.log().half().float()
        log_tail = target.tail.log().clamp(min=-60000).half().float()
        total = torch.logaddexp(log_p.logsumexp(-1), log_tail)
        kept = TopK(target.ids, (log_p - total[:, None]).exp(), (log_tail - total).exp())
        before, _ = token_losses(student.clone(), target, labels, settings)
        after, _ = token_losses(student.clone(), kept, labels, settings)
        log_q = functional.log_softmax(student, -1)
        rest = log_q.scatter(1, target.ids, -torch.inf).logsumexp(-1).clamp(min=-88)
        bound = rounding_bound(target, log_q.gather(1, target.ids), rest)
        assert ((after - before).abs() <= bound + 1e-5).all()


class TestRemember:
    @pytest.fixture
    def windows(self):
        return Windows(token_ids=tokens(10, 12).numpy().astype("uint16"), loss_mask=None, key="cache")

    def ask(self, tiny, windows, path, **fields):
        settings = CacheSettings(top_k=8, batch_windows=4)
        return remember(tiny.model, windows, settings, teacher_key="t", path=path, **fields)

    def test_is_what_the_teacher_says(self, pair, windows, tmp_path):
        """The remembered distribution is the live one's top k, to FP16."""
        cache = self.ask(pair[1], windows, tmp_path / "cache")
        batch = read_batch(windows, np.array([7, 2]), torch.device("cpu"))
        counted = torch.ones(2, 11, dtype=torch.bool)
        live = top_k_of(LiveTeacher(pair[1].model).of(batch, counted).rows(slice(None)), 8)
        found = cache.of(batch, counted).rows(slice(None))
        assert torch.equal(found.ids, live.ids)
        torch.testing.assert_close(found.probabilities, live.probabilities, rtol=2e-2, atol=1e-4)
        torch.testing.assert_close(found.probabilities.sum(-1) + found.tail, torch.ones(22))

    def test_is_asked_once(self, pair, windows, tmp_path):
        """The second time the folder is opened and the teacher is left alone."""
        self.ask(pair[1], windows, tmp_path / "cache")
        calls = []
        self.ask(pair[1], windows, tmp_path / "cache", progress=lambda *call: calls.append(call))
        assert not calls

    @pytest.mark.parametrize("at", [4, 8, 10])
    def test_killed_and_asked_again_is_the_same(self, pair, windows, tmp_path, at):
        """What was whole is kept, the rest is made, and the files are the same bytes."""
        self.ask(pair[1], windows, tmp_path / "whole")

        def die(label, done, total, detail=""):
            if done == at:
                raise Killed

        with pytest.raises(Killed):
            self.ask(pair[1], windows, tmp_path / "cache", progress=die)
        asked = []
        self.ask(pair[1], windows, tmp_path / "cache", progress=lambda *call: asked.append(call[1]))
        assert len(asked) == 3 - at // 4
        for file in sorted((tmp_path / "whole").iterdir()):
            assert (tmp_path / "cache" / file.name).read_bytes() == file.read_bytes()

    def test_a_student_learns_from_it(self, pair, windows, tmp_path):
        """Trained on what is remembered, the student comes closer to the teacher itself."""
        student, teacher = pair
        settings = DistillationSettings()
        live = Distilled(FeatureModel(student.model), LiveTeacher(teacher.model), settings)
        batch = read_batch(windows, np.arange(10), torch.device("cpu"))
        before = live(batch).item()
        model = Distilled(FeatureModel(student.model), self.ask(teacher, windows, tmp_path / "cache"), settings)
        how = TrainingSettings(optimizer_steps=12, batch_windows=5, learning_rate=5e-3)
        train(model, windows, how, state=tmp_path / "state", loss=distillation_loss)
        assert live(batch).item() < 0.8 * before
