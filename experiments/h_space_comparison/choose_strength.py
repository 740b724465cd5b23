"""Try strengths of a finished run's method on validation images, which no reported table uses.

    python experiments/h_space_comparison/choose_strength.py RUN_DIR --strengths 1 2 3 --out strength.json

The edit is the method's own. RUN_DIR needs its vectors only (stages=[concepts,masks,training] is enough). Images are
those of image_seed=1 (reported ones are of 0); what they present, the zero-shot judge says, so that nothing is ever
tuned on the supervised probe, the second judge of the tables.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from hspace_exp.concepts.concept import Concept, load_concept
from hspace_exp.config.checks import check
from hspace_exp.config.schema import register
from hspace_exp.errors import UserError
from hspace_exp.evaluation.evaluators import AvatarEvaluator
from hspace_exp.evaluation.functional.background import background_mask, masked_squared_error, psnr
from hspace_exp.generation.generate import sample_chunk
from hspace_exp.io.atomic import write_json
from hspace_exp.methods.steering import Edit
from hspace_exp.models.devices import resolve_device
from hspace_exp.pipeline.calibration import another
from hspace_exp.pipeline.parts import Parts, make_parts, plain_config
from hspace_exp.prompts.attributes import prompts_of
from hspace_exp.prompts.plan import Item

VALIDATION_SEED = 1


@dataclass(frozen=True)
class Looked:
    """What the judge and SAM see in images (B, 3, S, S)."""

    images: Tensor
    classes: Mapping[str, Tensor]
    persons: Tensor


def main() -> None:
    """Measure every strength and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--strengths", nargs="+", type=float, required=True)
    parser.add_argument("--images", type=int, default=4, help="images a profession")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="e.g. method.window=[0.2,1.0]")
    parser.add_argument("--opposite", action="store_true", help="ask each image for what it does not show")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    a = parser.parse_args()
    try:
        cfg = configuration(a.run_dir, a.images, a.device, a.set)
        rows = sweep(cfg, a.run_dir, a.strengths, a.opposite)
    except UserError as error:
        sys.exit(f"error: {error}")
    if a.out:
        asked = {"set": a.set, "opposite": a.opposite, "image_seed": VALIDATION_SEED}
        write_json(a.out, {"method": cfg.method.name, "attribute": cfg.attribute.name, **asked, "rows": rows})


def configuration(run_dir: Path, images: int, device: str, changes: list[str]) -> DictConfig:
    """The run's own configuration, for validation images."""
    path = run_dir / ".hydra" / "config.yaml"
    if not path.exists():
        raise UserError(f"{run_dir} is no run's folder: {path} is missing")
    register()
    cfg = OmegaConf.load(path)
    if not isinstance(cfg, DictConfig):
        raise UserError(f"{path} is no configuration: run the experiment again")
    cfg.device = str(resolve_device(device))
    cfg.protocol.image_seed, cfg.protocol.images_per_profession = VALIDATION_SEED, images
    cfg.merge_with_dotlist(changes)
    return cfg


def sweep(cfg: DictConfig, run_dir: Path, strengths: list[float], opposite: bool = False) -> list[dict[str, Any]]:
    """One row a strength."""
    config = plain_config(cfg)
    check(config)
    evaluator = instantiate(cfg.evaluator)
    if not isinstance(evaluator, AvatarEvaluator):
        raise UserError("strengths are chosen with the embedded world's judge: use a run of model=avatars")
    parts = make_parts(cfg, config)
    if not parts.method.edits:
        raise UserError(f"method {parts.method.name!r} edits nothing: there is no strength to choose")
    concepts: dict[str, Concept] = {}
    if parts.method.training is not None:
        concepts = {name: load_concept(run_dir / "concepts" / f"{name}.safetensors") for name in parts.learnt}
    before = look(evaluator, generated(parts, None))
    if opposite:
        parts = replace(parts, items=asked_for_another(parts, evaluator, before))
    rows = []
    for strength in strengths:
        edit = replace(parts, method=replace(parts.method, strength=strength)).edit(concepts)
        row = {"strength": strength, **compare(parts, evaluator, before, look(evaluator, generated(parts, edit)))}
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def asked_for_another(parts: Parts, evaluator: AvatarEvaluator, before: Looked) -> list[Item]:
    """The items, each with a value as its target that its unedited image does not show."""
    values = list(evaluator.judge.attributes[parts.attribute.name])
    shown = before.classes[parts.attribute.name].tolist()
    return [
        replace(item, target=another(values, value, item.seed_index))
        for item, value in zip(parts.items, shown, strict=True)
    ]


def generated(parts: Parts, edit: Edit | None) -> Tensor:
    """Images of all items."""
    size = parts.sampling.chunk_size
    chunks = [parts.items[start : start + size] for start in range(0, len(parts.items), size)]
    made = [sample_chunk(parts.backbone, parts.sampling, chunk, parts.image_seed, edit).cpu() for chunk in chunks]
    return torch.cat(made)


def look(evaluator: AvatarEvaluator, images: Tensor) -> Looked:
    """Judge images, in pieces that a small GPU holds."""
    pieces = images.split(evaluator.batch_size)
    judged = [evaluator.judge.judge(piece) for piece in pieces]
    classes = {name: torch.cat([some[name] for some in judged]) for name in judged[0]}
    pixels = [(piece.permute(0, 2, 3, 1) * 255).round().byte() for piece in pieces]
    return Looked(images, classes, torch.cat([evaluator.person_masks(piece) for piece in pixels]))


def compare(parts: Parts, evaluator: AvatarEvaluator, before: Looked, after: Looked) -> dict[str, Any]:
    """What reached its target, and what stayed as it was."""
    values = evaluator.judge.attributes[parts.attribute.name]
    wanted = torch.tensor([values.index(item.target) for item in parts.items])
    reached = after.classes[parts.attribute.name] == wanted
    errors, counts = masked_squared_error(before.images, after.images, background_mask(before.persons, after.persons))
    decibels = psnr(float(errors.sum() / counts.sum().clamp(min=1)))
    others = [name for name in evaluator.judge.attributes if name != parts.attribute.name]
    same = {name: after.classes[name] == before.classes[name] for name in others}
    kept = {f"{name}_kept": share(same[name]) for name in others}
    for target in prompts_of(parts.asked):
        kept |= {f"{name}_kept_{target}": share(same[name][wanted == values.index(target)]) for name in others}
    rows = {
        item.profession: [i for i, other in enumerate(parts.items) if other.profession == item.profession]
        for item in parts.items
    }
    return {
        "n": len(parts.items),
        "success": share(reached),
        "success_worst": min(round(reached[chosen].double().mean().item(), 4) for chosen in rows.values()),
        **{f"success_{name}": share(reached[wanted == values.index(name)]) for name in prompts_of(parts.asked)},
        "background_psnr": None if decibels is None else round(decibels, 2),
        **kept,
    }


def share(yes: Tensor) -> float | None:
    """Mean of booleans, to four digits; None of none."""
    return round(yes.double().mean().item(), 4) if len(yes) else None


if __name__ == "__main__":
    main()
