"""Concept vectors in the h-space of frozen text-to-image diffusion models: find, train, apply, measure."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hspace_exp.concepts.concept import Concept
    from hspace_exp.generation.steer import steer
    from hspace_exp.pipeline.train_concept import train_concept

__version__ = "0.2.0.dev0"
__all__ = ["Concept", "steer", "train_concept"]

# Where the names live; imported when asked for, so that `import hspace_exp` costs nothing.
_PLACES = {
    "Concept": "hspace_exp.concepts.concept",
    "steer": "hspace_exp.generation.steer",
    "train_concept": "hspace_exp.pipeline.train_concept",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 (whatever the module holds)
    """Names of the Python interface."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
