"""What a ``_target_`` may name: classes and functions of ours, some of libraries, and modules that a user trusts."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hspace_exp.errors import UserError

_ROOMS = ("evaluation", "generation.request", "masks", "methods", "models", "results.loggers", "training")
OURS = (*(f"hspace_exp.{room}" for room in _ROOMS), "avatars_world", "hspace_rivals")
# Where targets of libraries begin, and what they must be: subclasses of one of these.
LIBRARIES = ("torch.optim", "torchmetrics", "lightning")
BASES = {
    "torch.optim.optimizer.Optimizer",
    "torch.optim.lr_scheduler.LRScheduler",
    "torchmetrics.metric.Metric",
    "lightning.pytorch.trainer.trainer.Trainer",
    "lightning.pytorch.loggers.logger.Logger",
}
_LOGGING = ("logging.StreamHandler", "logging.FileHandler", "logging.NullHandler")


def check_trust(node: Any, trust: Sequence[str], where: str = "") -> None:
    """Refuse a ``_target_`` anywhere in plain data that is neither ours nor of a trusted module; nothing is imported.

    Raises UserError: it names the key, and what to say where the module is the user's own.
    """
    for place, one in with_target(node, where):
        key, target = f"{place}._target_".lstrip("."), str(one["_target_"])
        if not _inside(target, (*OURS, *LIBRARIES, *trust)):
            module = target.rpartition(".")[0] or target
            how = f"if {module:.80} is a module of your own, say trust=[{module:.80}]"
            raise UserError(f"{key} names {target:.120}, which is not ours: {how}")


def with_target(node: Any, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Dotted key and node of all that has a ``_target_`` inside plain data, outer ones first."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield where, node
        for name, inner in node.items():
            yield from with_target(inner, f"{where}.{name}".lstrip("."))
    elif isinstance(node, list | tuple):
        for inner in node:
            yield from with_target(inner, where)


def resolve(target: str, trust: Sequence[str]) -> Any:
    """What a target names. It is imported where its name may be, and handed out where it was made there, too.

    Raises UserError: it is not to be trusted, see ``check_trust``, or is another module's, reached through one of ours.
    Raises whatever the import raises.
    """
    check_trust({"_target_": target}, trust)
    found = pkgutil.resolve_name(target)
    made = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    bases = inspect.getmro(found) if inspect.isclass(found) else ()
    known = any(f"{base.__module__}.{base.__qualname__}" in BASES for base in bases)
    if not known and not _inside(made, (*OURS, *trust)):
        raise UserError(f"{target} is {made}, which is neither ours nor an optimiser, scheduler, metric or logger")
    return found


def check_logging(node: Any) -> None:
    """Refuse handlers and filters of ``hydra.job_logging`` that are more than a stream or a file.

    Raises UserError: one names another class, or a factory.
    """
    for part in ("handlers", "formatters", "filters"):
        for name, one in ((node or {}).get(part) or {}).items():
            if "()" in one or one.get("class", _LOGGING[0]) not in (*_LOGGING, "logging.Formatter"):
                raise UserError(f"hydra.job_logging.{part}.{name} names code: choose among {', '.join(_LOGGING)}")


def _inside(name: str, modules: Sequence[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)
