"""What takes long to find is kept while the same is asked for."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from hspace_exp.models.backbone import Backbone

Found = TypeVar("Found")


class Latest(Generic[Found]):
    """The last thing that was made, of a model and of what decides it beside the model; never more than one."""

    def __init__(self) -> None:
        """Nothing is kept yet."""
        self._key: Hashable = None
        self._found: Found | None = None

    def __call__(self, backbone: Backbone, of: Hashable, make: Callable[[], Found]) -> Found:
        """What was made for the same U-Net, its place and type, and the same ``of``; else it is made."""
        key = (weakref.ref(backbone.unet), backbone.device, backbone.dtype, backbone.latent_shape, of)
        if self._found is None or self._key != key:
            self._key, self._found = key, make()
        return self._found
