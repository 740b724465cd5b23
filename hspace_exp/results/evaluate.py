"""``hspace-exp evaluate``: score images made elsewhere with the code that scores runs."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hydra.utils import instantiate
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from hspace_exp.config.checks import check_targets
from hspace_exp.config.command_line import choices, composed, importing
from hspace_exp.errors import UserError, unknown
from hspace_exp.io.digest import essential
from hspace_exp.results.record import FILE_NAME, describe_device, read_record

if TYPE_CHECKING:
    from hspace_exp.evaluation.evaluators import Evaluator

EXPERIMENT = "evaluate"
COMPOSED = ".hydra/config.yaml"  # what Hydra leaves in the folder of a run, finished or not
_NO_JUDGE = ("metrics", "repeats", "labelled")  # settings that make no other judge

Node = Mapping[str, Any]


def main(context: Any, **given: Any) -> None:
    """Evaluate as the command says; leave ``record.json``, ``judged.csv``, ``manifest.csv``, pictures and a table.

    Raises UserError: an argument or a file is wrong.
    """
    a = SimpleNamespace(**given)
    if a.evaluator and a.evaluator not in choices("evaluator"):
        raise unknown("evaluator", a.evaluator, choices("evaluator"))
    name = a.name or (a.images.stem if a.images.is_file() else a.images.resolve().name)
    if not name.isprintable() or len(os.fsencode(name)) > 255:  # bytes of a file's name
        raise UserError(f"{name!r:.120} can be no name of a result: give another with --name")
    out = a.out or Path("outputs/evaluate") / name / a.attribute
    if is_foreign(out):
        raise UserError(f"{out} holds the record of another command: choose another folder with --out")
    with importing():
        from hspace_exp.evaluation.score import score
    from hspace_exp.evaluation.judged_csv import write_judged
    from hspace_exp.evaluation.sources import find_source
    from hspace_exp.generation.manifest import write_pairs
    from hspace_exp.models.devices import resolve_device
    from hspace_exp.results.write import record_of, write_results

    source = find_source(a.images, a.reference)
    started = time.monotonic()
    node = evaluator_node(a, str(resolve_device(a.device)))
    evaluator: Evaluator = instantiate(node, _convert_="all")
    found = score(source, evaluator, a.attribute, seed=a.seed, repeats=a.repeats)
    config: dict[str, Any] = {k: getattr(a, k) for k in ("attribute", "device", "repeats", "seed")}
    config |= {"images": str(a.images), "reference": str(a.reference or ""), "name": name, "evaluator": node}
    names = {"experiment": EXPERIMENT, "method": name, "model": "images", "attribute": a.attribute}
    seconds, device = {"evaluation": time.monotonic() - started}, describe_device(resolve_device(a.device))
    record = record_of(config, found, seconds, device, context.obj, **names)
    write_pairs(out, source.pairs)
    write_judged(out, found.rows)
    print(f"{out}\n{write_results(record, source.pairs, out)}")


def evaluator_node(a: SimpleNamespace, device: str) -> dict[str, Any]:
    """The evaluator that was asked for, or else the run's, as conf/evaluator has it but for what the arguments set."""
    persons = {"network": a.persons, "weights": a.person_weights or None, "device": device}
    segmenter = {"_target_": "hspace_exp.evaluation.person_segmenter.PersonSegmenter", **persons}
    given: dict[str, Any] = {"margin": a.margin, "labelled": a.labelled, "model": a.model or None}
    given |= {"weights": a.weights or None, "person_masks": segmenter if a.persons else None}
    given = {name: value for name, value in given.items() if value is not None}
    choice, published = (a.evaluator, {}) if a.evaluator else judge_of_run(a.images, given)
    cfg = composed([f"evaluator={choice}", f"device={device}"])
    node: Any = OmegaConf.to_container(cfg.evaluator, resolve=True)
    for name in given:
        if name not in (*node, "margin"):
            raise UserError(f"the evaluator {choice} takes no --{name.replace('person_masks', 'persons')}")
    node |= {"repeats": a.repeats, "batch_size": a.batch, **published, **given}
    check_targets(node, "evaluator")
    return node


def judge_of_run(images: Path, given: Collection[str]) -> tuple[str, dict[str, str]]:
    """The choice of evaluator that judged the run that ``images`` are in, and its OpenCLIP model, where it has one.

    Settings of the names ``given`` may differ, as the user sets them. Files of a run are data from anywhere: what they
    name is only compared with names that exist here, of conf/evaluator and of OpenCLIP. No class, path or number of
    theirs is used. Raises UserError: the images are in no run, or its evaluator is none of conf/evaluator.
    """
    held, names = _evaluator_in(images.resolve()), ", ".join(choices("evaluator"))
    if held is None:
        advice = "say who judges it: --evaluator avatars for the embedded world, --evaluator photos for photographs"
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
        raise UserError(f"{told}: say --evaluator and such settings. Choices: {names}")
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


def _published(held: Node) -> dict[str, Any]:
    """Model and weights of an evaluator, where OpenCLIP publishes such ones."""
    if "model" not in held:
        return {}
    import open_clip

    found = {name: held.get(name) for name in ("model", "weights")}
    return found if tuple(found.values()) in open_clip.list_pretrained() else {}


def _differing(held: Node, own: Node, aside: Collection[str]) -> list[str]:
    """Settings in which two evaluators differ, but for those that change no number and those ``aside``."""
    a, b = (dict[str, Any](essential(node, "evaluator")) for node in (held, own))  # type: ignore[call-overload]
    return sorted(key for key in {*a, *b} - {*aside} if key not in a or key not in b or a[key] != b[key])


def is_foreign(folder: Path) -> bool:
    """Whether the folder holds the record of a run, which must not be overwritten."""
    try:
        return read_record(folder).experiment != EXPERIMENT
    except UserError:
        return (folder / "record.json").exists()
