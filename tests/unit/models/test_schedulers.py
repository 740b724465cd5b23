from __future__ import annotations

import pytest

from hspace_exp.errors import UserError
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.schedulers import make_scheduler


@pytest.mark.parametrize("kind", ["native", "ddim", "dpm"])
def test_other_samplers_keep_the_models_schedule(tiny_backbone: Backbone, kind: str) -> None:
    scheduler = make_scheduler(tiny_backbone.scheduler, kind)
    assert scheduler.config.prediction_type == "v_prediction"
    assert scheduler.config.beta_end == 0.012
    assert (scheduler is tiny_backbone.scheduler) == (kind == "native")


def test_unknown_kinds_are_refused(tiny_backbone: Backbone) -> None:
    with pytest.raises(UserError, match="Did you mean 'ddim'"):
        make_scheduler(tiny_backbone.scheduler, "ddin")
