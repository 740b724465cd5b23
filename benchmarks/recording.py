"""What tests and experiments look at: the h of each call of a U-Net."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from hspace_exp.models.hspace import edit_hspace


@contextmanager
def record_hspace(unet: nn.Module) -> Iterator[list[Tensor]]:
    """Collect h (rows, C, H, W) of every forward pass, detached, on its device.

    Entered inside ``edit_hspace`` it sees the edited h, entered outside it (earlier) the vanilla one.
    """
    recorded: list[Tensor] = []

    def keep(h: Tensor) -> None:
        recorded.append(h.detach())

    with edit_hspace(unet, keep):
        yield recorded
