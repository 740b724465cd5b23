"""``hspace-exp evaluate``: score images made elsewhere with the code that scores runs."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

from hspace_exp.config.checks import check_targets
from hspace_exp.config.command_line import choices, composed, importing, quoted
from hspace_exp.errors import UserError, unknown
from hspace_exp.io.digest import essential
from hspace_exp.results.record import FILE_NAME, describe_device, read_record

if TYPE_CHECKING:
    from hspace_exp.evaluation.evaluators import Evaluator

EXPERIMENT = "evaluate"
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
    overrides = [quoted(one) for one in a.more or ()]
    choice = a.evaluator or judge_of_run(a.images, overrides)
    cfg = composed([f"evaluator={choice}", f"device={device}", f"evaluator.repeats={a.repeats}", *overrides])
    node: Any = OmegaConf.to_container(cfg.evaluator, resolve=True)
    node |= {"batch_size": a.batch}
    check_targets(node, "evaluator")
    return node


def judge_of_run(images: Path, overrides: Sequence[str]) -> str:
    """The choice of evaluator that judged the finished run that ``images`` are in.

    Settings of ``overrides``, e.g. ``evaluator.margin=0.02``, may differ, as the user sets them. A record is data from
    anywhere: what it says is only compared with conf/evaluator. Raises UserError: the images are in no run, or its
    evaluator is none of conf/evaluator.
    """
    names, held = choices("evaluator"), _evaluator_in(images.resolve())
    if held is None:
        advice = "say who judges it: --evaluator avatars for the embedded world, --evaluator photos for photographs"
        raise UserError(f"{images} is in no folder of a finished run, so {advice}. Choices: {', '.join(names)}")
    own = {name: composed([f"evaluator={name}"]).evaluator for name in names}
    aside = {*_NO_JUDGE, *(one.partition("=")[0].removeprefix("evaluator.").split(".")[0] for one in overrides)}
    differing = {name: _differing(held, node, aside) for name, node in own.items()}
    metrics = set(held.get("metrics", ()))
    best = min(names, key=lambda name: (len(differing[name]), len({*own[name].metrics} ^ metrics)))
    if other := differing[best]:
        told = f"the run of {images} has an evaluator of its own, which differs from {best} in {', '.join(other)}"
        raise UserError(f"{told}: say --evaluator and --set what it takes. Choices: {', '.join(names)}")
    return best


def _evaluator_in(start: Path) -> Node | None:
    """The evaluator in the record of this folder or the next one above."""
    for folder in (start, *start.parents):
        with suppress(UserError):
            node = read_record(folder).config.get("evaluator")
            if isinstance(node, Mapping) and isinstance(node.get("metrics", {}), Mapping):
                return node
    return None


def _differing(held: Node, own: Any, aside: Collection[str]) -> list[str]:
    """Settings in which two evaluators differ, but for those that change no number and those ``aside``."""
    plain = OmegaConf.to_container(own, resolve=True)
    a, b = (dict[str, Any](essential(node, "evaluator")) for node in (held, plain))  # type: ignore[call-overload]
    return sorted(key for key in {*a, *b} - {*aside} if key not in a or key not in b or a[key] != b[key])


def is_foreign(folder: Path) -> bool:
    """Whether the folder holds the record of a run, which must not be overwritten."""
    try:
        return read_record(folder).experiment != EXPERIMENT
    except UserError:
        return (folder / FILE_NAME).exists()
