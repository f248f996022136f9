from __future__ import annotations

import itertools

import pytest

from harness.submission.mean import mean_scores
from harness.submission.measurements import Measurements


def without(model, *parts):
    """The same result with parts of the final measurements left out."""
    results = tuple(
        result.model_copy(update={"measurements": result.measurements.model_copy(update=dict.fromkeys(parts))})
        if result.role == "final"
        else result
        for result in model.checkpoints
    )
    return model.model_copy(update={"checkpoints": results})


class TestMeanScores:
    def test_is_the_mean_of_the_final_checkpoints(self, bundle):
        """Per task the plain mean over the models' final scores; the other checkpoints do not count."""
        models = bundle.submission.models
        mean = mean_scores(models)
        for task in mean.tasks:
            finals = [
                next(
                    score.score
                    for score in model.result("final").measurements.evaluation.tasks
                    if score.task == task.task
                )
                for model in models
            ]
            assert task.score == pytest.approx(sum(finals) / 3)

    def test_does_not_depend_on_the_order_of_models(self, bundle):
        """Any order gives the same numbers, to the last bit."""
        models = bundle.submission.models
        assert len({mean_scores(order).model_dump_json() for order in itertools.permutations(models)}) == 1

    def test_one_model_is_its_own_mean(self, bundle):
        """The mean over one model is that model's score."""
        model = bundle.submission.models[0]
        mean = mean_scores([model])
        final = model.result("final").measurements
        assert [task.score for task in mean.tasks] == [score.score for score in final.evaluation.tasks]
        assert mean.peak_memory_bytes == final.performance.peak_memory_bytes

    @pytest.mark.parametrize("part", ["bits_per_byte", "evaluation", "performance"])
    def test_what_one_model_lacks_has_no_mean(self, bundle, part):
        """A missing number is absent from the mean; it is neither zero nor averaged over fewer."""
        first, *others = bundle.submission.models
        mean = mean_scores([without(first, part), *others])
        absent = {
            "bits_per_byte": mean.bits_per_byte is None,
            "evaluation": mean.tasks == (),
            "performance": mean.decode_tokens_per_s is None and mean.peak_memory_bytes is None,
        }
        assert absent == {kind: kind == part for kind in absent}

    def test_nothing_measured_has_no_mean(self, bundle):
        """No models, or models without measurements, have an empty mean."""
        bare = without(bundle.submission.models[0], *Measurements.model_fields)
        assert mean_scores([]) == mean_scores([bare])
