"""The stage ``calibration``: the least strength at which images show what they are asked for, on images of its own.

An image is asked for what its unedited twin does not show, so that each one tells something. Strengths lie on a grid
and are found by bisection, each concept's for itself. Professions are none that a method learns from, and noises are
of the domain ``validation``, which no reported image has. Only the evaluator's first judge is asked.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.config.schema import AUTO, Calibration
from hspace_exp.errors import UserError
from hspace_exp.evaluation.functional.content import background_mask, masked_squared_error, psnr
from hspace_exp.evaluation.judged import Observers
from hspace_exp.evaluation.judges import Judge
from hspace_exp.generation.generate import generate
from hspace_exp.io.atomic import write_bytes, write_json
from hspace_exp.io.checksums import kept_json
from hspace_exp.io.digest import Recipe, digest, essential
from hspace_exp.io.images import as_float, load_images
from hspace_exp.io.seeding import VALIDATION
from hspace_exp.methods.steering import UneditedRuns
from hspace_exp.pipeline.learning import save_all
from hspace_exp.pipeline.parts import Parts
from hspace_exp.prompts.attributes import NEUTRAL, Group, judged_by
from hspace_exp.prompts.plan import plan

if TYPE_CHECKING:
    from hspace_exp.evaluation.evaluators import Evaluator

log = logging.getLogger(__name__)

FILE = "calibration.json"
BATCH = 32  # images looked at together
NO_JUDGE = ("metrics", "repeats", "labelled", "features")  # of an evaluator: what no strength depends on


def strengths_of(how: Calibration) -> list[float]:
    """The strengths that may be tried, evenly spaced on a log scale, rising, to three significant digits."""
    least, most = how.strengths
    return [float(f"{strength:.3g}") for strength in np.geomspace(least, most, how.points)]


@dataclass(frozen=True)
class Point:
    """What images of one concept did at one strength."""

    strength: float
    images: int  # how many
    success: float  # share that shows the concept
    background_psnr: float | None = None  # in dB; None where nothing differs, or nobody finds persons
    # other attribute → share of images that show what their unedited twins show
    kept: Mapping[str, float] = field(default_factory=dict)


# Strength of each concept → what its images did.
Attempt = Callable[[Mapping[str, float]], Mapping[str, Point]]


def bisect(grid: Sequence[float], names: Sequence[str], attempt: Attempt, success: float) -> dict[str, list[Point]]:
    """Find each concept's least strength of a rising grid with at least ``success``, taking success to rise with it.

    Gives all points that were tried, by concept, with rising strength.
    """
    bounds, curves = {name: (0, len(grid)) for name in names}, {name: list[Point]() for name in names}
    while left := {name: (low + high) // 2 for name, (low, high) in bounds.items() if low < high}:
        for name, point in attempt({name: grid[k] for name, k in left.items()}).items():
            low, high = bounds[name]
            bounds[name] = (low, left[name]) if point.success >= success else (left[name] + 1, high)
            curves[name].append(point)
    return {name: sorted(curve, key=lambda point: point.strength) for name, curve in curves.items()}


def chosen(curve: Sequence[Point], success: float) -> Point:
    """The least strength with at least ``success``, or else the most successful one, of equals the least."""
    reached = [point for point in curve if point.success >= success]
    return min(reached or curve, key=lambda point: (0 if reached else -point.success, point.strength))


def calibrate(
    parts: Parts,
    concepts: Mapping[str, Concept],
    evaluator: Evaluator,
    config: Mapping[str, Any],
    cache: Path,
    run_dir: Path,
) -> Parts:
    """Find the strengths of all concepts that can be asked for, or read them from the cache.

    The evaluator's first judge is asked; it finds persons, where it can. ``concepts`` are the vectors, none where the
    method learns none, ``config`` has the nodes ``calibration`` and ``evaluator``. The run's folder gets
    ``calibration.json``, ``.png`` and ``.pdf``, and its concept files their strengths. The file and the record tell
    the settings, ``guidance_scale`` at which strengths hold, and of each concept its ``strength`` with its ``success``,
    whether that was ``reached``, and the ``curve``. Gives the parts with these strengths. Raises UserError: the
    evaluator has no judge.
    """
    how = Calibration(**config["calibration"])
    # as vectors are learnt: with the model's own guidance scale, and not with a sampler that is swapped for the images
    sampling = parts.learnings[0].sampling if parts.learnings else replace(parts.sampling, guidance_scale=None)
    own = replace(parts, sampling=sampling)
    if not hasattr(evaluator, "judges"):
        kind = type(evaluator).__name__
        raise UserError(f"method.strength=auto asks an evaluator's judge, and {kind} has none: say method.strength=…")
    found: dict[str, Any] = {}
    for group in parts.asked:
        recipe = _recipe(own, group, config["evaluator"], how)
        path = recipe.folder(cache) / FILE
        found |= kept_json(path, partial(_calibrated, own, group, concepts, evaluator, how, path.parent / "images"))
        shutil.rmtree(path.parent / "images", ignore_errors=True)
    told = {"settings": asdict(how), "guidance_scale": parts.backbone.guidance_scale, "concepts": found}
    _leave(told, concepts, run_dir, parts.method.factor)
    return parts.at(told)


def recalled(parts: Parts, run_dir: Path) -> Parts:
    """The parts with the strengths that another process of the run found, where they are to be found."""
    return parts.at(json.loads((run_dir / FILE).read_bytes())) if parts.method.strength == AUTO else parts


def _leave(told: Mapping[str, Any], concepts: Mapping[str, Concept], run_dir: Path, factor: float) -> None:
    """Say what was found: in the log, in the run's folder, and in its concept files, by the run's ``factor``."""
    from hspace_exp.results.figures import calibration_chart  # imports matplotlib, which other processes do without

    success = told["settings"]["success"]
    changed = {}
    for name, one in told["concepts"].items():
        if not one["curve"]:
            log.warning("all unedited images show %s: it gets the strength of the others, %g", name, one["strength"])
        elif not one["reached"]:
            at = f"success {one['success']:.2f} at strength {one['strength']:g}"
            log.warning("%s never reached success %g: the best is taken, %s", name, success, at)
        if (concept := concepts.get(name)) is not None:
            used = {"strength": factor * one["strength"], "guidance_scale": told["guidance_scale"]}
            points = [point for point in one["curve"] if point["strength"] == one["strength"]]
            metrics = {**concept.metrics, "calibration": points}
            hyperparameters = {**concept.hyperparameters, **used}
            changed[name] = replace(concept, hyperparameters=hyperparameters, metrics=metrics)
    save_all(changed, run_dir / "concepts")
    write_json(run_dir / FILE, told)
    chart = calibration_chart(told["concepts"], success)
    for form in ("png", "pdf"):
        write_bytes(run_dir / f"calibration.{form}", chart.encoded(form))


def judging(evaluator: Mapping[str, Any]) -> object:
    """What of an evaluator's node decides strengths: all that its judges are made of, and who finds persons."""
    return essential({key: one for key, one in evaluator.items() if key not in NO_JUDGE}, "evaluator")


def _recipe(parts: Parts, group: Group, evaluator: Mapping[str, Any], settings: Calibration) -> Recipe:
    inputs: dict[str, Any] = {"settings": asdict(settings), "sampling": parts.sampling.describe(parts.backbone)}
    inputs |= {"templates": parts.templates, "applied": parts.applied, "group": group.name}
    inputs |= {"vectors": [one.of_vectors.digest for one in parts.learnings if group in one.asked]}
    inputs |= {"judge": judging(evaluator)}
    return Recipe("calibration", {**inputs, "prompts": {name: some.plain() for name, some in group.concepts.items()}})


def _calibrated(
    parts: Parts,
    group: Group,
    concepts: Mapping[str, Concept],
    evaluator: Evaluator,
    settings: Calibration,
    folder: Path,
) -> dict[str, Any]:
    """The strengths of one group's concepts; ``folder`` gets images, and those in it are used."""
    judge: Judge = evaluator.judges([group.name], judged_by((group,)))[0]
    look, values = partial(look_at, evaluator.observers, judge), judge.attributes[group.name]
    make = partial(generate, parts.backbone, parts.sampling, image_seed=settings.image_seed, domain=VALIDATION)
    count = settings.images * len(group.concepts)
    items = plan(settings.professions, parts.templates, -(-count // len(settings.professions)))
    items = sorted(items, key=lambda item: item.seed_index)[:count]  # shared evenly among the professions
    by = folder.parent.name
    runs = UneditedRuns()
    nothing = replace(parts, asked=(group,), method=replace(parts.method, strength=0.0)).edit(concepts, runs)
    start = parts.method.before(nothing, parts.frequency)
    make(items, folder, edit=start, made_by=by, description="images to calibrate with")
    before = look([folder / item.file for item in items])
    shown = before.classes[group.name].tolist()
    items = [replace(one, target=another(values, now, one.seed_index)) for one, now in zip(items, shown, strict=True)]

    def attempt(strengths: Mapping[str, float]) -> dict[str, Point]:
        rows, edited = [k for k, one in enumerate(items) if one.target in strengths], folder / digest(dict(strengths))
        method = replace(parts.method, strength={name: strengths.get(name, 0.0) for name in group.concepts}, factor=1.0)
        edit = replace(parts, asked=(group,), method=method).edit(concepts, runs)
        asked = [items[k] for k in rows]
        about = f"calibrate {', '.join(strengths)}"
        make(asked, edited, edit=edit, made_by=f"{by}/{edited.name}", description=about)
        after, start = look([edited / one.file for one in asked]), before.rows(rows)
        found = {}
        for name, strength in strengths.items():
            own = [k for k, one in enumerate(asked) if one.target == name]
            found[name] = compared(start.rows(own), after.rows(own), group.name, values.index(name), strength)
        return found

    names = [name for name in group.concepts if any(item.target == name for item in items)]
    curves = bisect(strengths_of(settings), names, attempt, settings.success)
    best = {name: chosen(curve, settings.success) for name, curve in curves.items()}
    most = max(best.values(), key=lambda point: point.strength)  # for a concept that all unedited images show
    return {
        name: {
            "strength": best.get(name, most).strength,
            "success": best[name].success if name in best else None,
            "reached": name in best and best[name].success >= settings.success,
            "curve": [asdict(point) for point in curves.get(name, [])],
        }
        for name in group.concepts
    }


def another(values: Sequence[str], shown: int, turn: int) -> str:
    """A value that an image does not show, others by turns; of a concept alone in its group always that one."""
    if NEUTRAL in values:
        return next(value for value in values if value != NEUTRAL)
    return values[(shown + 1 + turn % (len(values) - 1)) % len(values)]


@dataclass(frozen=True)
class Seen:
    """What was seen of N images."""

    pixels: Tensor  # (N, H, W, 3) uint8
    classes: Mapping[str, Tensor]  # attribute → (N,), negative where unclear
    persons: Tensor | None  # (N, 1, H, W) bool; None where nobody finds persons

    def rows(self, rows: Sequence[int]) -> Seen:
        """Some of them."""
        at = torch.tensor(rows, dtype=torch.int64)
        classes = {name: some[at] for name, some in self.classes.items()}
        return Seen(self.pixels[at], classes, None if self.persons is None else self.persons[at])


def look_at(observers: Observers, judge: Judge, files: Sequence[Path]) -> Seen:
    """What a judge says of images, and where persons are."""
    pixels, classes, persons = [], [], []
    for start in range(0, len(files), BATCH):
        some = load_images(files[start : start + BATCH])
        pixels.append(some)
        classes.append(judge.judge(as_float(some.to(observers.device))))
        if observers.person_masks is not None:
            persons.append(observers.person_masks(some).cpu() >= 0.5)
    joined = {name: torch.cat([one[name].cpu() for one in classes]) for name in judge.attributes}
    return Seen(torch.cat(pixels), joined, torch.cat(persons) if persons else None)


def compared(before: Seen, after: Seen, attribute: str, target: int | Tensor, strength: float) -> Point:
    """What images show, beside the unedited ones of the same noises; ``target`` is all one's class, or (N,) classes."""
    count, background = len(after.pixels), None
    if before.persons is not None and after.persons is not None:
        errors = torch.zeros(2, dtype=torch.float64)
        for at in torch.arange(count).split(BATCH):
            outside = background_mask(before.persons[at], after.persons[at])
            sums = masked_squared_error(as_float(before.pixels[at]), as_float(after.pixels[at]), outside)
            errors += torch.stack([some.sum() for some in sums])
        background = psnr(float(errors[0] / errors[1].clamp(min=1)))
    success = float((after.classes[attribute] == target).double().mean())
    shares = {name: float((now == before.classes[name]).double().mean()) for name, now in after.classes.items()}
    del shares[attribute]
    tidy = {name: round(share, 4) for name, share in shares.items()}
    return Point(strength, count, round(success, 4), None if background is None else round(background, 2), tidy)
