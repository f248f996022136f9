"""Both branches of a strategy: the student's steps, and the same training of the base."""

from __future__ import annotations

from harness.run.preparation import prepare
from harness.run.strategy import carry_out

LEARNING = """
class Learn(Step):
    stage: Literal["train"] = "train"
    method: Literal["learn"] = "learn"
    reads_data: ClassVar[bool] = False

class Copies(Options):
    steps: tuple[Copy | Learn, ...] = ()

@hookimpl
def train(request):
    return StepResult(checkpoint=copied(request, "learnt"), notes={"is_control": request.is_control})
"""
RECIPE = '[[step]]\nstage = "compress"\nmethod = "copy"\n[[step]]\nstage = "train"\nmethod = "learn"\n'


class TestControl:
    def test_train_steps_know_that_they_are_the_control(self, install_copying, settings, workspace, observer, tmp_path):
        """The student's training is told that it is none, the base's that it is; neither is taken for the other."""
        install_copying(LEARNING)
        recipe = tmp_path / "learning.toml"
        recipe.write_text(RECIPE)
        prepared = prepare(settings.model_copy(update={"control": True, "recipe": str(recipe)}), workspace)
        strategy = carry_out(prepared, prepared.models[0], observer)
        assert strategy.steps[-1].notes == {"is_control": False}
        assert strategy.control_steps[-1].notes == {"is_control": True}
        assert [label for label, _ in observer.finished_labels] == ["compress copy", "train learn", "control learn"]
        assert not any(reused for _, reused in observer.finished_labels)
