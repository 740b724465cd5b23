from __future__ import annotations

from functools import partial

import pytest
import torch

from hspace_exp.concepts.method import LowFrequency, Method, Training
from hspace_exp.concepts.objectives import Denoising, LocalisedDenoising
from hspace_exp.errors import UserError
from hspace_exp.frequency import haar_lowpass

ADAM = partial(torch.optim.Adam, lr=0.1)


def test_a_method_needs_maps_when_its_objective_does() -> None:
    assert not Method("original", 0.0, "both").needs_maps
    assert not Method("sdid", 1.0, "conditional", Training(Denoising(), ADAM)).needs_maps
    assert Method("lwim", 1.0, "both", Training(LocalisedDenoising(), ADAM)).needs_maps


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Method("x", 1.0, "all"), "conditional"),
        (lambda: Training(Denoising(), ADAM, vector="spacial"), "Did you mean 'spatial'"),
        (lambda: Training(Denoising(), ADAM, batch_size=0), "batch_size"),
        (lambda: Training(Denoising(), ADAM, timesteps=(500, 100)), "timesteps"),
        (lambda: LowFrequency(0.35, "originl", haar_lowpass), "Did you mean 'original'"),
        (lambda: LowFrequency(0.35), "frequency=haar"),
    ],
)
def test_nonsense_is_refused(make: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()  # type: ignore[operator]
