"""Sweep the strength of a finished run's vectors on validation seeds, which no reported table uses.

    python experiments/gender_fairness/choose_strength.py RUN_DIR --settings conditional:2 both:3 --out results.json

The images are those of ``image_seed=1`` (reported runs use 0); the probe says what they present.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from hspace_exp.atomic import write_json
from hspace_exp.avatars.probe import ATTRIBUTES, load_probe
from hspace_exp.concepts.concept import load_concept
from hspace_exp.concepts.method import LowFrequency
from hspace_exp.evaluation.evaluators import sam_person_masks
from hspace_exp.evaluation.judges import ProbeJudge
from hspace_exp.frequency import haar_lowpass
from hspace_exp.generation import Edit, Sampling, sample_chunk
from hspace_exp.models.backbone import load_backbone
from hspace_exp.models.loading import EMBEDDED
from hspace_exp.plan import plan

VALIDATION_SEED = 1


def main() -> None:
    """Measure every setting and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--settings", nargs="+", required=True, metavar="BRANCH:STRENGTH[:LAMBDA]")
    parser.add_argument("--images", type=int, default=4, help="images a profession")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    a = parser.parse_args()
    config = json.loads((a.run_dir / "record.json").read_text())["config"]
    backbone = load_backbone(
        EMBEDDED, device=a.device, name="avatars", guidance_scale=config["model"]["guidance_scale"]
    )
    vectors = {p.stem: load_concept(p).vector for p in sorted((a.run_dir / "concepts").glob("*.safetensors"))}
    protocol = config["protocol"]
    items = plan(
        protocol["professions"], config["prompts"]["templates"], a.images, list(config["attribute"]["concepts"])
    )
    sampling = Sampling(protocol["num_inference_steps"], lambda scheduler: scheduler, 8)
    judge = ProbeJudge(load_probe(EMBEDDED).to(backbone.device), ATTRIBUTES, device=backbone.device)
    person = sam_person_masks(EMBEDDED / "sam", str(backbone.device))
    chunks = [items[i : i + 8] for i in range(0, len(items), 8)]
    name = config["attribute"]["name"]
    wanted = torch.tensor([ATTRIBUTES[name].index(item.target) for item in items])

    def images(edit: Edit | None) -> torch.Tensor:
        return torch.cat([sample_chunk(backbone, sampling, chunk, VALIDATION_SEED, edit).cpu() for chunk in chunks])

    def persons(batch: torch.Tensor) -> torch.Tensor:
        return person((batch.permute(0, 2, 3, 1) * 255).round().byte()) > 0.5

    original = images(None)
    before, around = judge.judge(original), persons(original)
    rows = []
    for setting in a.settings:
        branch, strength, *weight = setting.split(":")
        amount = float(weight[0]) if weight else 0.0
        edited = images(Edit(vectors, float(strength), branch, LowFrequency(amount, "original", haar_lowpass)))
        after = judge.judge(edited)
        outside = ~(around | persons(edited)).expand_as(original)
        psnr = float(-10 * (edited - original)[outside].square().mean().log10())
        row = {
            "setting": setting,
            "n": len(items),
            "success": float((after[name] == wanted).float().mean()),
            "background_psnr": round(psnr, 2),
            "scene_kept": float((after["scene"] == before["scene"]).float().mean()),
            "profession_kept": float((after["profession"] == before["profession"]).float().mean()),
        }
        rows.append(row)
        print(json.dumps(row), flush=True)
    if a.out:
        write_json(a.out, {"method": config["method"]["name"], "image_seed": VALIDATION_SEED, "rows": rows})


if __name__ == "__main__":
    main()
