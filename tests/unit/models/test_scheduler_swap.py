from __future__ import annotations

import pytest

from hspace_exp.errors import UserError
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.scheduler_swap import Swapped


def test_measured_images_and_learning_have_schedulers_of_their_own(tiny_backbone: Backbone) -> None:
    swapped = Swapped("dpm")
    measured, learnt = swapped(tiny_backbone.scheduler), swapped.learning(tiny_backbone.scheduler)
    assert type(measured).__name__ == "DPMSolverMultistepScheduler"
    assert learnt is tiny_backbone.scheduler
    assert measured.config.prediction_type == tiny_backbone.scheduler.config.prediction_type


@pytest.mark.parametrize("kinds", [("dmp",), ("ddim", "dmp")])
def test_unknown_kinds_are_refused(kinds: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="Did you mean 'dpm'"):
        Swapped(*kinds)
