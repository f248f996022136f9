"""Learned masks reach their shape, keep their multipliers honest, and resume to the same bits."""

from __future__ import annotations

import pytest
import torch

from harness.corpora.windows import Windows
from harness.errors import UsageError
from harness.methods.distillation import Distilled, LiveTeacher, distillation_loss
from harness.methods.divergence import DistillationSettings
from harness.methods.masks import MASK_PARAMETERS, HardConcreteMasks, MaskedModel, MaskTarget
from harness.methods.training import TrainingSettings, train
from tests.methods.gated import make_tiny, tokens

KEEP = {"hidden": 48, "kv_group": 1, "intermediate": 40}
SETTINGS = TrainingSettings(
    optimizer_steps=80,
    schedule="stable-decay",
    batch_windows=2,
    learning_rate=1e-3,
    rate_factors=((MASK_PARAMETERS, 1000.0),),
    checkpoint_every_steps=1,
)


class Killed(Exception):
    pass


def new_student(folder, case="qwen2"):
    tiny, teacher = make_tiny(case, folder), make_tiny(case, folder)
    masks = HardConcreteMasks(tiny.anatomy, MaskTarget(keep=KEEP, warmup_count=10), seed=1)
    return Distilled(MaskedModel(tiny.model, tiny.anatomy, masks), LiveTeacher(teacher.model), DistillationSettings())


@pytest.fixture
def windows():
    return Windows(token_ids=tokens(8, 16).numpy().astype("uint16"), loss_mask=None, key="masks")


class TestHardConcreteMasks:
    def test_sparsity_reaches_its_target_in_every_row(self, tmp_path, windows):
        """After training the expected share of open units of every layer is near the target's."""
        student = new_student(tmp_path / "model")
        train(student, windows, SETTINGS, state=tmp_path / "state", loss=distillation_loss)
        masks = student.student.masks
        for axis, keep in KEEP.items():
            wanted = keep / len(masks._rows(axis)[0])
            assert torch.allclose(masks.open_share(axis), torch.tensor(wanted), atol=0.15), axis
            assert all((gates > 0).sum() == keep for gates in masks()[axis])

    def test_goal_rises_and_stays(self, tmp_path):
        """From nothing, in a line, to the target, and no further."""
        masks = new_student(tmp_path / "model").student.masks
        goals = [masks.goal("hidden", step) for step in range(30)]
        assert goals[4] == pytest.approx(0.125)
        assert goals[9:] == [0.25] * 21

    def test_multipliers_climb_the_penalty(self, tmp_path):
        """Too few closed units: a descent step makes the penalty's weight of that gap more negative."""
        masks = new_student(tmp_path / "model").student.masks
        masks.penalty(20).backward()
        gap = (1 - masks.open_share("hidden") - masks.goal("hidden", 20)).mean()
        assert gap < 0
        torch.testing.assert_close(masks.multipliers["hidden"].grad[0], -gap)

    def test_penalty_is_zero_at_the_target(self, tmp_path):
        """No gap, no term, whatever the multipliers."""
        masks = new_student(tmp_path / "model").student.masks
        masks.target = MaskTarget(keep=KEEP, warmup_count=10**9)
        with torch.no_grad():
            for row in masks.parameters():
                row.fill_(4.6)
        assert masks.penalty(0).abs() < 5e-2

    def test_more_than_there_is_is_told(self, tmp_path):
        """The message has axis, bound and number."""
        tiny = make_tiny("llama", tmp_path / "model")
        with pytest.raises(UsageError, match=r"kv_group must keep 1\.\.2 units, got 3"):
            HardConcreteMasks(tiny.anatomy, MaskTarget(keep={"kv_group": 3}, warmup_count=1))


class TestMaskedModel:
    def test_killed_and_resumed_is_the_same(self, tmp_path, windows):
        """Gates are drawn anew from seed and step, so a resumed run ends in the same bits."""

        def die(label, done, total, detail=""):
            if done == 17:
                raise Killed

        whole, resumed = new_student(tmp_path / "a"), new_student(tmp_path / "b")
        train(whole, windows, SETTINGS, state=tmp_path / "whole", loss=distillation_loss)
        with pytest.raises(Killed):
            train(
                new_student(tmp_path / "c"),
                windows,
                SETTINGS,
                state=tmp_path / "s",
                loss=distillation_loss,
                progress=die,
            )
        train(resumed, windows, SETTINGS, state=tmp_path / "s", loss=distillation_loss)
        pairs = zip(whole.named_parameters(), resumed.named_parameters(), strict=True)
        assert all(torch.equal(first, second) for (_, first), (_, second) in pairs)
