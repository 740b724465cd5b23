"""Where in the transformer it can be read what an image shows: a linear readout of gender at each site.

    python experiments/transformers/readout.py

It is fitted (ridge regression) to sampling runs of prompts that name the gender, read under the same prompts without
it, and tried on runs of other professions, whose images the probe judges. Writes ``results/readout.json``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hspace_exp.avatars import EMBEDDED
from hspace_exp.avatars.probe import ATTRIBUTES, load_probe
from hspace_exp.io.atomic import write_json
from hspace_exp.io.seeding import LEARNING, VALIDATION, initial_noise
from hspace_exp.models.backbone import Backbone, load_backbone
from hspace_exp.models.hspace import edit_hspace
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.sites import site_of
from hspace_exp.results.record import describe_device, git_state

LEARNT = [
    "carpenter",
    "mechanic",
    "sheriff",
    "developer",
    "lawyer",
    "doctor",
    "teacher",
    "librarian",
    "nurse",
    "person",
]
TRIED = ["manager", "writer", "analyst", "cook", "designer", "janitor", "physician", "supervisor", "tailor", "cashier"]
NOISES, STEPS, LEVELS = (5, 8), 20, (4, 9, 14, 19)
States = dict[str, list[Tensor]]


@contextmanager
def reading(backbone: Backbone, rows: int) -> Iterator[States]:
    """H of the last ``rows`` rows at each site, in every forward pass."""
    found: States = {}
    blocks = range(len(backbone.unet.transformer_blocks))
    sites = [site_of(backbone.unet, backbone.site.grid, f"{kind}:{k}") for kind in ("heads", "block") for k in blocks]
    with ExitStack() as stack:
        for site in sites:
            stack.enter_context(edit_hspace(backbone.unet, partial(_keep, found.setdefault(site.name, []), rows), site))
        yield found


def _keep(states: list[Tensor], rows: int, h: Tensor) -> None:
    states.append(h[-rows:].half())


@torch.no_grad()
def main() -> None:
    """Fit and try the readouts."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    backbone = load_backbone(EMBEDDED, device=device, guidance_scale=3.0, network="transformer")
    words = ATTRIBUTES["gender"]
    runs = [(f"a photo of a {word} {one}", f"a photo of a {one}", k) for one in LEARNT for k, word in enumerate(words)]
    runs = [run for run in runs for _ in range(NOISES[0])]
    noise = [initial_noise(run[0], i % NOISES[0], backbone.latent_shape, 0, LEARNING) for i, run in enumerate(runs)]
    visited: list[tuple[Tensor, Tensor]] = []
    said = backbone.encode_prompts([run[0] for run in runs])
    Sampling(STEPS)(backbone, torch.stack(noise), said, on_step=lambda step, t, latents: visited.append((t, latents)))
    neutral = backbone.encode_prompts([run[1] for run in runs])
    with reading(backbone, len(runs)) as learnt:
        for level in LEVELS:
            backbone.predict(visited[level][1], visited[level][0], neutral)
    prompts = [f"a photo of a {one}" for one in TRIED for _ in range(NOISES[1])]
    noise = [initial_noise(one, i % NOISES[1], backbone.latent_shape, 0, VALIDATION) for i, one in enumerate(prompts)]
    with reading(backbone, len(prompts)) as tried:
        latents = Sampling(STEPS)(backbone, torch.stack(noise), backbone.encode_prompts(prompts))
    shown = load_probe(EMBEDDED).to(device)(backbone.decode_latents(latents))["gender"].argmax(1)
    asked = torch.tensor([run[2] for run in runs], device=device)
    right = {
        site: [round(accuracy(states[i], asked, tried[site][level], shown), 3) for i, level in enumerate(LEVELS)]
        for site, states in learnt.items()
    }
    about: dict[str, Any] = {"git": git_state(), "device": describe_device(backbone.device)}
    about |= {"runs": len(runs), "images": len(prompts), "steps": [level + 1 for level in LEVELS]}
    write_json(Path(__file__).parent / "results" / "readout.json", {**about, "accuracy": right})
    for site, shares in right.items():
        print(site, *shares)


def accuracy(rows: Tensor, classes: Tensor, others: Tensor, theirs: Tensor) -> float:
    """Share of other rows that ridge regression, fitted to rows (N, C, H, W) of two classes, puts right."""
    h, signs = rows.flatten(1).float(), 2.0 * classes - 1
    centre = h.mean(0)
    products = (h - centre) @ (h - centre).T
    ridge = 0.1 * products.trace() / len(products) * torch.eye(len(products), device=h.device)
    weights = (h - centre).T @ torch.linalg.solve(products + ridge, signs - signs.mean())
    read = (others.flatten(1).float() - centre) @ weights
    return float(((read > 0).long() == theirs).float().mean())


if __name__ == "__main__":
    main()
