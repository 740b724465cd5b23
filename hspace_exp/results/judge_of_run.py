"""Which evaluator judged a run, so that its images are judged in the same way again.

Files of a run are data from anywhere: what they name is only compared with names that exist here, of conf/evaluator and
of OpenCLIP. No class, path or number of theirs is used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from hspace_exp.config.command_line import choices, composed
from hspace_exp.errors import UserError
from hspace_exp.io.digest import essential
from hspace_exp.results.record import FILE_NAME, read_record

COMPOSED = ".hydra/config.yaml"  # what Hydra leaves in the folder of a run, finished or not
_NO_JUDGE = ("metrics", "repeats", "labelled")  # settings that make no other judge

Node = Mapping[str, Any]


def judge_of_run(images: Path, given: Collection[str]) -> tuple[str, dict[str, str]]:
    """The choice of evaluator that judged the run that ``images`` are in, and its OpenCLIP model, where it has one.

    Settings of the names ``given`` may differ, as the user sets them. Raises UserError: the images are in no run, or
    its evaluator is none of conf/evaluator.
    """
    held, names = _evaluator_in(images.resolve()), ", ".join(choices("evaluator"))
    if held is None:
        advice = "say who judges it: evaluator=avatars for the embedded world, evaluator=photos for photographs"
        raise UserError(f"{images} is in no folder of a run, so {advice}. Choices: {names}")
    published, metrics = _published(held), set(held.get("metrics", ()))
    fits = {}
    for name in choices("evaluator"):
        cfg = composed([f"evaluator={name}"]).evaluator
        forms: list[Any] = [OmegaConf.to_container(cfg, resolve=resolve) for resolve in (True, False)]
        other = min((_differing(held, own, {*given, *published, *_NO_JUDGE}) for own in forms), key=len)
        fits[name] = len(other), len({*cfg.metrics} ^ metrics), other
        if not any(fits[name]):
            break
    best = min(fits, key=lambda name: fits[name])
    if other := fits[best][2]:
        told = f"the run of {images} has an evaluator of its own, which differs from {best} in {', '.join(other)}"
        raise UserError(f"{told}: say evaluator=… and such settings. Choices: {names}")
    return best, published


def _evaluator_in(start: Path) -> Node | None:
    """The evaluator of the run whose folder this or the next one above is, plain data with references as they are."""
    for file in (folder / name for folder in (start, *start.parents) for name in (FILE_NAME, COMPOSED)):
        with suppress(ValueError, OSError, OmegaConfBaseException, YAMLError):
            record = file.name == FILE_NAME
            config: Any = read_record(file).config if record else OmegaConf.to_container(OmegaConf.load(file))
            node = config.get("evaluator") if isinstance(config, Mapping) else None
            if isinstance(node, Mapping) and isinstance(node.get("metrics", {}), Mapping):
                return node
    return None


def _published(held: Node) -> dict[str, str]:
    """Model and weights of an evaluator, where OpenCLIP publishes such ones."""
    if "model" not in held:
        return {}
    import open_clip

    pairs = [pair for pair in open_clip.list_pretrained() if pair == (held["model"], held.get("weights"))]
    return {"model": pairs[0][0], "weights": pairs[0][1]} if pairs else {}


def _differing(held: Node, own: Node, aside: Collection[str]) -> list[str]:
    """Settings in which two evaluators differ, but for those that change no number and those ``aside``."""
    a, b = (dict[str, Any](essential(node, "evaluator")) for node in (held, own))  # type: ignore[call-overload]
    return sorted(key for key in {*a, *b} - {*aside} if key not in a or key not in b or a[key] != b[key])
