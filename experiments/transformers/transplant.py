"""How much of gender each site of the transformer carries: its features, taken from the run of another prompt.

    python experiments/transformers/transplant.py

Images of "a photo of a nurse" whose features at one site are those of "a photo of a female nurse" at the same z_t, in
the conditional half; 36 professions. It tells where a prompt's gender enters and passes; ``prompt`` is the upper bound.
Writes ``results/transplant.json``: site → value → shares of images, judged by the probe.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from avatars_world.captions import plain_text
from avatars_world.claims import Claim
from avatars_world.evaluate.generated import STEPS, generate, noise_of
from avatars_world.evaluate.potency import DIRECTIONS, score, transplanted
from avatars_world.evaluate.renders import classify
from hspace_exp.avatars import EMBEDDED
from hspace_exp.avatars.probe import load_probe
from hspace_exp.avatars.world import PROFESSIONS
from hspace_exp.io.atomic import write_json
from hspace_exp.models.backbone import load_backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.results.record import describe_device, git_state

HERE = Path(__file__).resolve().parent
PROMPT = "prompt"  # in place of a site: images of the prompt that names the value
SITES = [PROMPT, *(f"{kind}:{k}" for kind in ("heads", "block") for k in range(6))]
SEED, ROWS = 22_000_000, 90


@torch.no_grad()
def main() -> None:
    """Measure all sites."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sites", nargs="*", default=SITES, help="default: each block and its heads, and the prompt itself"
    )
    parser.add_argument("--per-profession", type=int, default=2, help="images (default: 2)")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "transplant.json")
    a = parser.parse_args()
    device, count = "cuda" if torch.cuda.is_available() else "cpu", a.per_profession
    judge, seeds = load_probe(EMBEDDED).to(device), [SEED + i for _ in PROFESSIONS for i in range(count)]
    plain = [plain_text(Claim(subject=one)) for one in PROFESSIONS for _ in range(count)]
    found: dict[str, Any] = {}
    for site in tqdm(a.sites, desc="sites"):
        options: dict[str, Any] = {"device": device, "guidance_scale": 3.0, "network": "transformer"}
        backbone = load_backbone(EMBEDDED, site=None if site == PROMPT else site, **options)
        if not found:
            found |= {"git": git_state(), "device": describe_device(backbone.device), "images": len(plain), "sites": {}}
            before = classify(judge, generate(backbone, plain, seeds, batch=ROWS).float())
        found["sites"][site] = {}
        for one in DIRECTIONS[:2]:
            named = [plain_text(Claim(subject=p, gender=one.value)) for p in PROFESSIONS for _ in range(count)]
            made = []
            for start in range(0, len(plain), ROWS):
                texts, wanted = plain[start : start + ROWS], named[start : start + ROWS]
                noise = noise_of(backbone, texts, seeds[start : start + ROWS])
                if site == PROMPT:
                    latents = Sampling(STEPS)(backbone, noise, backbone.encode_prompts(wanted))
                    made.append(backbone.decode_latents(latents))
                else:
                    made.append(transplanted(backbone, noise, texts, wanted).float())
            scores = score(before, classify(judge, torch.cat(made)), one, count)
            found["sites"][site][one.value] = {name: round(share, 4) for name, share in scores.items()}
        write_json(a.out, found)


if __name__ == "__main__":
    main()
