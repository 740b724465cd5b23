"""Success and background against strength at several guidance scales, with vectors that were learnt at one.

    python experiments/guidance/law.py focused --out law_focused.json
    python experiments/guidance/law.py sdid --run RUN_DIR --out law_sdid.json

Without --run the vectors are those that come with the package. Images are asked for what their unedited twins do not
show; professions and noises are those of the calibration. Strengths are multiples of --strength times 3 / scale, and
what else enters the conditional half of guidance has the same factor.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from hydra.utils import instantiate

from hspace_exp.avatars import CONCEPTS
from hspace_exp.concepts.concept import Concept, load_concept
from hspace_exp.config.checks import plain_config
from hspace_exp.config.command_line import composed
from hspace_exp.evaluation.evaluators import AvatarEvaluator
from hspace_exp.generation.generate import generate
from hspace_exp.io.atomic import write_json
from hspace_exp.io.seeding import VALIDATION
from hspace_exp.methods.steering import UneditedRuns
from hspace_exp.models.devices import resolve_device
from hspace_exp.pipeline.calibration import another, compared, look_at
from hspace_exp.pipeline.parts import Parts, make_parts
from hspace_exp.prompts.attributes import judged_by, kept_by, prompts_of
from hspace_exp.results.record import describe_device, git_state


def main() -> None:
    """Measure, and print a line a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("method", help="one that edits the conditional half")
    add("--run", type=Path, help="folder of a run whose vectors are used")
    add("--strength", type=float, default=2.5)
    add("--multiples", type=float, nargs="+", default=[0.35, 0.5, 0.71, 1.0, 1.41, 2.0, 2.83, 4.0])
    add("--scales", type=float, nargs="+", default=[1.5, 2.0, 3.0, 5.0, 7.5])
    add("--images", type=int, default=12, help="a profession")
    add("--set", nargs="*", default=[], metavar="KEY=VALUE")
    add("--out", type=Path, required=True)
    a = parser.parse_args()
    own = ["protocol=full", "protocol.image_seed=1", f"protocol.images_per_profession={a.images}", "logger=none"]
    cfg = composed(["+experiment=gender_fairness", f"method={a.method}", *own, *a.set], "config")
    cfg.protocol.professions, cfg.device = cfg.calibration.professions, str(resolve_device(cfg.device))
    evaluator, parts = instantiate(cfg.evaluator), make_parts(cfg, plain_config(cfg))
    if parts.method.branch != "conditional":
        parser.error(f"method {a.method} edits the {parts.method.branch} branch: guidance does not multiply its edit")
    saved = CONCEPTS if a.run is None else a.run / "concepts"
    concepts = {name: load_concept(saved / f"{name}.safetensors") for one in parts.learnings for name in one.concepts}
    with TemporaryDirectory() as folder:
        rows = measured(a, parts, concepts, evaluator, Path(folder))
    about = {"strength": a.strength, "set": a.set, "git": git_state()}
    write_json(a.out, {**about, "device": describe_device(parts.backbone.device), "rows": rows})


def measured(
    a: argparse.Namespace, parts: Parts, concepts: Mapping[str, Concept], evaluator: AvatarEvaluator, images: Path
) -> list[dict[str, Any]]:
    """One row a scale and strength; ``images`` is a folder for them."""
    (group,) = parts.asked
    judge = evaluator.judges([group.name], judged_by(parts.asked))[0]
    look, values = partial(look_at, evaluator.observers, judge), judge.attributes[group.name]
    kept = kept_by(parts.asked) if parts.method.keeps else {}
    rows: list[dict[str, Any]] = []
    for scale in a.scales:
        factor, runs, folder = 3 / scale, UneditedRuns(), images / f"{scale:g}"
        sampling = replace(parts.sampling, guidance_scale=scale)
        make = partial(generate, parts.backbone, sampling, image_seed=parts.image_seed, domain=VALIDATION)
        make(parts.items, folder)
        before = look([folder / item.file for item in parts.items])
        shown = zip(parts.items, before.classes[group.name].tolist(), strict=True)
        items = [replace(one, target=another(values, now, one.seed_index)) for one, now in shown]
        wanted = torch.tensor([values.index(item.target) for item in items])
        for strength in (a.strength * multiple for multiple in a.multiples):
            method, edited = replace(parts.method, strength=strength), folder / f"{strength:g}"
            edit = method.apply(prompts_of(parts.asked), concepts, kept, parts.frequency, factor, runs)
            make(items, edited, edit=edit)
            after = look([edited / item.file for item in items])
            point = compared(before, after, group.name, wanted, strength * factor)
            told = {"n": point.images, "success": point.success, "background_psnr": point.background_psnr}
            told |= {f"{name}_kept": share for name, share in point.kept.items()}
            rows.append(
                {"method": a.method, "guidance": scale, "strength": point.strength, "lambda_scaled": True, **told}
            )
            print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    main()
