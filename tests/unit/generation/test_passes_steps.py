"""Where a call of the U-Net is in the schedule: known without a value that lies on a device."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.generation.passes import Passes

HEUN = [900.0, 600.0, 600.0, 300.0, 300.0]


class OnDevice(Tensor):
    """A tensor whose values may be asked for once, as a whole."""

    def cpu(self, *args: Any, **options: Any) -> Tensor:
        """A copy elsewhere."""
        assert self.ndim
        return self.as_subclass(Tensor).clone()

    def tolist(self) -> Any:
        """Wait for the device."""
        raise AssertionError("the device was waited for")


def passes(timesteps: Tensor) -> Passes:
    return Passes(SimpleNamespace(scheduler=SimpleNamespace(timesteps=timesteps)))


def test_steps_of_the_schedule_are_known_by_their_place() -> None:
    own = torch.tensor(HEUN).as_subclass(OnDevice)
    some = passes(own)
    places = [some._done(t) for t in own]
    assert places == [0.0, 0.2, 0.2, 0.6, 0.6]  # the first place of a noise counts
    assert [some._done(t) for t in own[2:]] == places[2:]
    assert some._done(own[3][None]) == 0.6


def test_other_timesteps_are_looked_up_by_their_value() -> None:
    some = passes(torch.tensor(HEUN))
    for t in (300, 300.0, torch.tensor(300), torch.tensor([300.0, 300.0]), torch.tensor(300.0, dtype=torch.float64)):
        assert some._done(t) == 0.6
    with pytest.raises(UserError, match="none of the scheduler's"):
        some._done(torch.tensor(301.0))


def test_another_schedule_is_read_anew() -> None:
    some = passes(torch.tensor([900.0, 300.0]))
    assert some._done(300) == 0.5
    some.pipe.scheduler.timesteps = torch.tensor([900.0, 600.0, 300.0, 0.0])
    assert [some._done(t) for t in (300, some.pipe.scheduler.timesteps[3])] == [0.5, 0.75]
