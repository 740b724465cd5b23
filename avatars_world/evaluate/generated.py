"""What is measured on generated images: obedience to prompts, and the bias of prompts that leave gender open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import numpy as np
import torch

from avatars_world.captions import plain_text
from avatars_world.claims import Claim
from avatars_world.evaluate.renders import classify
from hspace_exp.avatars.probe import ATTRIBUTES, AttributeProbe
from hspace_exp.avatars.world import AGES, GENDERS, PROFESSIONS, SCENES, SKIN_TONES, SUBJECTS, load_truth
from hspace_exp.evaluation.features import OpenClip
from hspace_exp.io.seeding import initial_noise
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit
from hspace_exp.models.sampling import Sampling

STEPS = 20
# Prompts and seeds → one image each, (N, 3, S, S) in [0, 1].
Generate = Callable[[list[str], list[int]], torch.Tensor]
# Rows of the preview, from what is named least to what is named most, and seeds in it.
PREVIEW = (
    "",
    "a photo of a person",
    "a photo of a doctor",
    "a photo of a nurse in the forest",
    "a photo of an old woman",
    "a photo of a young male carpenter in the city",
    "a photo of an old dark-skinned female farmer on the beach",
    "a photo of a young light-skinned man in the library",
)
PREVIEW_SEEDS = 8
EXTREME = tuple(p for p in PROFESSIONS if not 0.10 < load_truth()[p]["gender"]["female"] < 0.89)


def noise_of(backbone: Backbone, prompts: Sequence[str], seeds: Sequence[int]) -> torch.Tensor:
    """Initial noise (B, C, H, W) of each (prompt, seed)."""
    return torch.stack([initial_noise(p, s, backbone.latent_shape) for p, s in zip(prompts, seeds, strict=True)])


@torch.no_grad()
def generate(
    backbone: Backbone, prompts: list[str], seeds: list[int], *, batch: int = 64, edit: HEdit | None = None
) -> torch.Tensor:
    """One image a (prompt, seed), in float16 on the model's device; (N, 3, S, S) in [0, 1]."""
    images = []
    for start in range(0, len(prompts), batch):
        texts = prompts[start : start + batch]
        noise = noise_of(backbone, texts, seeds[start : start + batch])
        with nullcontext() if edit is None else backbone.edited(edit):
            latents = Sampling(STEPS)(backbone, noise, backbone.encode_prompts(texts))
        images.append(backbone.decode_latents(latents).half())
    return torch.cat(images)


def preview(draw: Generate) -> torch.Tensor:
    """One image a prompt of ``PREVIEW`` and a seed, prompt by prompt; (N, 3, S, S) in [0, 1]."""
    prompts = [prompt for prompt in PREVIEW for _ in range(PREVIEW_SEEDS)]
    return draw(prompts, [23_000_000 + i for _ in PREVIEW for i in range(PREVIEW_SEEDS)])


def correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    """Pearson correlation of two (N,) arrays; None where one of them is constant."""
    return float(np.corrcoef(x, y)[0, 1]) if x.std() > 0 and y.std() > 0 else None


def obedience(
    draw: Generate, judges: dict[str, OpenClip | AttributeProbe], count: int
) -> tuple[dict[str, dict[str, float]], torch.Tensor, list[str]]:
    """Share of images that show what the prompt says, for random combinations of everything.

    Two thirds of the prompts name gender, profession and scene, the rest age and skin tone as well; an attribute is
    judged only where it is named.
    """
    rng = np.random.default_rng(20_000_000)
    claims = [
        Claim(
            subject=str(rng.choice(PROFESSIONS)),
            gender=str(rng.choice(GENDERS)),
            scene=str(rng.choice(SCENES)),
            age=str(rng.choice(AGES)) if i % 3 == 0 else None,
            skin_tone=str(rng.choice(SKIN_TONES)) if i % 3 == 0 else None,
        )
        for i in range(count)
    ]
    prompts = [plain_text(claim) for claim in claims]
    images = draw(prompts, [20_000_000 + i for i in range(count)])
    result = {}
    for judge_name, judge in judges.items():
        found = classify(judge, images.float())
        shares = {}
        for name, values in ATTRIBUTES.items():
            wanted = [getattr(claim, "subject" if name == "profession" else name) for claim in claims]
            rows = [i for i, value in enumerate(wanted) if value is not None]
            target = torch.tensor([values.index(wanted[i]) for i in rows], device=found[name].device)
            shares[name] = float((found[name][rows] == target).float().mean())
        result[judge_name] = shares
    return result, images, prompts


def bias(
    draw: Generate, judges: dict[str, OpenClip | AttributeProbe], per_profession: int
) -> dict[str, dict[str, object]]:
    """P(female) of "a photo of a {profession}" against the truth table: deviation ratios and their correlation."""
    prompts = [plain_text(Claim(subject=p)) for p in SUBJECTS for _ in range(per_profession)]
    seeds = [21_000_000 + i for _ in SUBJECTS for i in range(per_profession)]
    images = draw(prompts, seeds)
    truth = load_truth()
    result: dict[str, dict[str, object]] = {}
    for judge_name, judge in judges.items():
        found = classify(judge, images.float())
        female = (found["gender"] == GENDERS.index("female")).float().view(len(SUBJECTS), -1).mean(1).cpu().numpy()
        old = (found["age"] == AGES.index("old")).float().view(len(SUBJECTS), -1).mean(1).cpu().numpy()
        data = np.array([truth[s]["gender"]["female"] for s in SUBJECTS])
        data_old = np.array([truth[s]["age"]["old"] for s in SUBJECTS])
        subject = torch.arange(len(SUBJECTS), device=images.device).repeat_interleave(per_profession)
        result[judge_name] = {
            "n_per_profession": per_profession,
            "deviation_ratio_model": float(np.abs(2 * female[1:] - 1).mean()),
            "deviation_ratio_data": float(np.abs(2 * data[1:] - 1).mean()),
            "correlation": correlation(female[1:], data[1:]),
            "correlation_old": correlation(old[1:], data_old[1:]),
            "profession_shown": float((found["profession"] == subject).float().mean()),
            "p_female": {s: round(float(v), 3) for s, v in zip(SUBJECTS, female, strict=True)},
        }
    return result
