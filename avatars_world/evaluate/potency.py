"""Is h-space potent? The transplant diagnosis, and plain SDID vectors."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch

from avatars_world.captions import plain_text
from avatars_world.claims import Claim
from avatars_world.evaluate.generated import EXTREME, STEPS, generate, noise_of
from avatars_world.evaluate.renders import classify
from hspace_exp.avatars.probe import ATTRIBUTES, AttributeProbe
from hspace_exp.avatars.world import PROFESSIONS
from hspace_exp.evaluation.features import OpenClip
from hspace_exp.io.seeding import generator
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit
from hspace_exp.models.prompts import PromptEmbeds
from hspace_exp.models.sampling import Sampling

NEUTRAL = "a photo of a person"


@dataclass(frozen=True)
class Direction:
    """A value to steer to: which attribute, which value, and the prompt whose images show it."""

    attribute: str
    value: str
    prompt: str

    @property
    def target(self) -> int:
        """Class index of the value."""
        return ATTRIBUTES[self.attribute].index(self.value)


DIRECTIONS = (
    Direction("gender", "female", "a photo of a woman"),
    Direction("gender", "male", "a photo of a man"),
    Direction("age", "young", "a photo of a young person"),
    Direction("age", "old", "a photo of an old person"),
)


def _prompts(per_profession: int) -> tuple[list[str], list[int]]:
    prompts = [plain_text(Claim(subject=p)) for p in PROFESSIONS for _ in range(per_profession)]
    return prompts, [22_000_000 + i for _ in PROFESSIONS for i in range(per_profession)]


def score(
    before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], direction: Direction, per_profession: int
) -> dict[str, float]:
    """Flip rate, success (all, extreme professions, worst), and what else was kept; classes before and after, (N,)."""
    name, target = direction.attribute, direction.target
    hit = (after[name] == target).float()
    other = before[name] != target
    by_profession = hit.view(len(PROFESSIONS), per_profession).mean(1)
    extreme = torch.tensor([p in EXTREME for p in PROFESSIONS], device=hit.device)
    kept = {k: float((after[k] == before[k]).float().mean()) for k in ATTRIBUTES if k != name}
    return {
        "flipped": float(hit[other].mean()) if bool(other.any()) else 1.0,
        "n_other": int(other.sum()),
        "success": float(hit.mean()),
        "success_extreme": float(by_profession[extreme].mean()),
        "success_worst": float(by_profession.min()),
        **{f"{k}_kept": v for k, v in kept.items()},
    }


@torch.no_grad()
def transplant(
    backbone: Backbone,
    judges: dict[str, OpenClip | AttributeProbe],
    unedited: torch.Tensor,
    per_profession: int,
    batch: int,
) -> dict[str, dict[str, dict[str, float]]]:
    """Sample with the neutral prompt but h from the attribute prompt's run at the same z_t, in both prompts' terms.

    The attribute prompt is "a photo of a female {profession}" and so on; h is replaced in the conditional half only.
    What this cannot flip, no vector in h can. ``prompt`` is the attribute prompt itself, the upper bound.
    """
    prompts, seeds = _prompts(per_profession)
    result: dict[str, dict[str, dict[str, float]]] = {}
    for direction in DIRECTIONS:
        asked = [
            plain_text(Claim(subject=p, **{direction.attribute: direction.value}))
            for p in PROFESSIONS
            for _ in range(per_profession)
        ]
        images, prompted = [], []
        for start in range(0, len(prompts), batch):
            texts, wanted = prompts[start : start + batch], asked[start : start + batch]
            # Both start from the noise of the neutral prompt, which the seed is keyed by.
            noise = noise_of(backbone, texts, seeds[start : start + batch])
            images.append(transplanted(backbone, noise, texts, wanted))
            latents = Sampling(STEPS)(backbone, noise, backbone.encode_prompts(wanted))
            prompted.append(backbone.decode_latents(latents).half())
        moved = torch.cat(images)
        for judge_name, judge in judges.items():
            before = classify(judge, unedited.float())
            entry = result.setdefault(judge_name, {})
            entry[f"transplant_{direction.value}"] = score(
                before, classify(judge, moved.float()), direction, per_profession
            )
            entry[f"prompt_{direction.value}"] = score(
                before, classify(judge, torch.cat(prompted).float()), direction, per_profession
            )
    return result


def transplanted(backbone: Backbone, noise: torch.Tensor, texts: list[str], wanted: list[str]) -> torch.Tensor:
    """Images (rows, 3, S, S) of ``texts`` whose conditional half reads h of ``wanted`` at the same z_t."""
    rows = len(texts)
    scheduler = copy.deepcopy(backbone.scheduler)
    scheduler.set_timesteps(STEPS, device=backbone.device)
    latents = noise.to(backbone.device)
    embeds = PromptEmbeds.cat(
        [
            backbone.encode_prompts([""]).expand(rows),
            backbone.encode_prompts(texts),
            backbone.encode_prompts(wanted),
        ]
    )
    index = torch.arange(3 * rows, device=backbone.device)
    index[rows : 2 * rows] = index[2 * rows :]
    for t in scheduler.timesteps:
        with backbone.edited(lambda h: h[index]):
            output = backbone.predict(torch.cat([latents] * 3), t, embeds)
        unconditional, conditional, _ = output.chunk(3)
        output = unconditional + backbone.guidance_scale * (conditional - unconditional)
        latents = scheduler.step(output, t, latents).prev_sample
    return backbone.decode_latents(latents).half()


def sdid_vectors(
    backbone: Backbone, *, images: int, steps: int, batch: int = 8, learning_rate: float = 0.1
) -> dict[str, torch.Tensor]:
    """Plain SDID vectors (C, H, W) of all directions, trained side by side as in Li et al. (CVPR 2024), eq. (3).

    Uniform timesteps, Adam, spatial vectors that start at zero, images of the attribute prompt under the neutral one.
    """
    pools = []
    for direction in DIRECTIONS:
        latents = []
        for start in range(0, images, 64):
            rows = min(64, images - start)
            noise = noise_of(backbone, [direction.prompt] * rows, range(23_000_000 + start, 23_000_000 + start + rows))
            embeds = backbone.encode_prompts([direction.prompt]).expand(rows)
            latents.append(Sampling(STEPS)(backbone, noise, embeds))
        pools.append(torch.cat(latents))
    pool = torch.stack(pools)
    kinds = len(DIRECTIONS)
    vectors = torch.zeros(kinds, *backbone.h_shape, device=backbone.device, requires_grad=True)
    optimizer = torch.optim.Adam([vectors], lr=learning_rate)
    embeds = backbone.encode_prompts([NEUTRAL]).expand(kinds * batch)
    random = generator("sdid", 0)
    for step in range(steps):
        picked = torch.randint(images, (kinds, batch), generator=random)
        t = torch.randint(backbone.num_train_timesteps, (kinds * batch,), generator=random).to(backbone.device)
        noise = torch.randn(kinds * batch, *backbone.latent_shape, generator=random).to(backbone.device)
        clean = torch.stack([pool[k, picked[k]] for k in range(kinds)]).flatten(0, 1)
        target = backbone.training_target(clean, noise, t)
        with backbone.edited(HEdit(vector=vectors.repeat_interleave(batch, 0))):
            output = backbone.predict(backbone.add_noise(clean, noise, t), t, embeds)
        loss = (output - target).square().mean((1, 2, 3)).view(kinds, batch).mean(1).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step % 250 == 0:
            rms = vectors.detach().square().mean((1, 2, 3)).sqrt().tolist()
            print(f"[sdid] step {step} loss {float(loss) / kinds:.5f} rms {[round(r, 2) for r in rms]}", flush=True)
    return {d.value: v.detach() for d, v in zip(DIRECTIONS, vectors, strict=True)}


def potency(
    backbone: Backbone,
    judges: dict[str, OpenClip | AttributeProbe],
    *,
    images: int,
    steps: int,
    per_profession: int,
    batch: int,
    settings: tuple[tuple[float, str], ...] = (
        (1.0, "conditional"),
        (1.5, "conditional"),
        (2.0, "conditional"),
        (1.0, "both"),
        (2.0, "both"),
    ),
) -> tuple[dict[str, object], dict[str, torch.Tensor]]:
    """Measure the transplant and SDID vectors at several strengths; also returns sample images for looking at."""
    prompts, seeds = _prompts(per_profession)
    unedited = generate(backbone, prompts, seeds, batch=batch)
    before = {name: classify(judge, unedited.float()) for name, judge in judges.items()}
    result: dict[str, object] = {"n_per_profession": per_profession, "sdid_images": images, "sdid_steps": steps}
    result["transplant"] = transplant(backbone, judges, unedited, per_profession, batch)
    vectors = sdid_vectors(backbone, images=images, steps=steps)
    pictures = {"original": unedited[:: max(1, per_profession)]}
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for direction in DIRECTIONS:
        for strength, branch in settings:
            edit = HEdit(vector=vectors[direction.value], strength=strength, guided=True, branch=branch)
            edited = generate(backbone, prompts, seeds, batch=batch, edit=edit)
            key = f"{direction.value} x{strength:g} {branch}"
            pictures[key] = edited[:: max(1, per_profession)]
            for name, judge in judges.items():
                after = classify(judge, edited.float())
                rows.setdefault(name, {})[key] = score(before[name], after, direction, per_profession)
    result["sdid"] = rows
    return result, pictures
