"""Guided sampling of latents with a frozen backbone: one plain loop that every stage shares."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.prompts import PromptEmbeds
from hspace_exp.models.schedulers import make_scheduler

StepHook = Callable[[int, Tensor, Tensor], None]
# Share of the schedule that is done, in [0, 1) → the hooks of the step that comes.
Hooks = Callable[[float], AbstractContextManager[object]]


@dataclass(frozen=True)
class Sampling:
    """How latents are denoised, under classifier-free guidance (Ho & Salimans, 2022)."""

    num_inference_steps: int  # steps
    # the model's own scheduler → the one to use, a diffusers scheduler without noise of its own
    make_scheduler: Callable[[Any], Any] = make_scheduler
    chunk_size: int = 8  # images at once
    guidance_scale: float | None = None  # None takes the backbone's own

    @torch.no_grad()
    def __call__(
        self,
        backbone: Backbone,
        noise: Tensor,
        embeds: PromptEmbeds,
        hooks: Hooks | None = None,
        on_step: StepHook | None = None,
    ) -> Tensor:
        """(B, C, H, W) float32 scaled latents, denoised under B prompts from as much standard normal ``noise``.

        A guidance scale of 1 or less samples without guidance; the unconditional half is the empty prompt, which models
        that are given their guidance scale do without. ``hooks`` make the context of each step, in which the U-Net is
        edited; None leaves the U-Net alone. ``on_step`` is called with (step, timestep, model input) before each
        prediction: latents as the scheduler scales them.
        """
        scale = self.scale(backbone)
        scheduler = copy.deepcopy(self.make_scheduler(backbone.scheduler))
        backbone.noising.start(scheduler, self.num_inference_steps, backbone.device)
        # Schedulers of flow matching have neither.
        scaled: Any = getattr(scheduler, "scale_model_input", lambda latents, t: latents)
        latents = noise.to(backbone.device, torch.float32) * getattr(scheduler, "init_noise_sigma", 1.0)
        guided, options = self.guided(backbone), {"scale": scale} if backbone.embeds_guidance else {}
        if guided:
            embeds = PromptEmbeds.cat([backbone.encode_prompts([""]).expand(len(latents)), embeds])
        schedule = scheduler.timesteps.cpu()  # so that no step waits for the device to tell which it is
        for i, t in enumerate(scheduler.timesteps):
            model_input = scaled(latents, t)
            if on_step is not None:
                on_step(i, t, model_input)
            with hooks(share_of(schedule, schedule[i])) if hooks is not None else nullcontext():
                output = backbone.predict(torch.cat([model_input] * 2) if guided else model_input, t, embeds, **options)
            if guided:
                unconditional, conditional = output.chunk(2)
                output = unconditional + scale * (conditional - unconditional)
            latents = scheduler.step(output, t, latents).prev_sample
        return latents

    def scale(self, backbone: Backbone) -> float:
        """The guidance scale."""
        return backbone.guidance_scale if self.guidance_scale is None else self.guidance_scale

    def guided(self, backbone: Backbone) -> bool:
        """Whether the unconditional half is run, too."""
        return self.scale(backbone) > 1.0 and not backbone.embeds_guidance

    def describe(self, backbone: Backbone) -> dict[str, Any]:
        """Everything that decides which image a prompt and a seed give, but for the prompt and the seed."""
        scheduler = self.make_scheduler(backbone.scheduler)
        settings = {k: v for k, v in sorted(scheduler.config.items()) if not k.startswith("_")}
        return {
            "model": backbone.name,
            "revision": backbone.revision,
            "dtype": str(backbone.dtype),
            "image_size": backbone.image_size,
            "scheduler": [type(scheduler).__name__, {k: str(v) for k, v in settings.items()}],
            "num_inference_steps": self.num_inference_steps,
            "guidance_scale": self.scale(backbone),
        }


def step_at(done: float, steps: int) -> int:
    """Which of so many evenly spaced steps the one after the share ``done`` of a schedule is, or comes closest to."""
    return min(round(done * steps), steps - 1)


def share_of(schedule: Tensor, timestep: Tensor | float) -> float:
    """Share of a schedule (T,) that is done before the step at a timestep, (), (rows,) or a number.

    Where a schedule has it twice, as Heun's has, its first place counts: noise is the same at both. Raises UserError:
    the rows have several, or the schedule lacks it.
    """
    given = set(torch.as_tensor(timestep).flatten().tolist())
    for place, one in enumerate(schedule.tolist()):
        if all(abs(one - t) < 1e-3 for t in given):
            return place / len(schedule)
    told = ", ".join(f"{t:g}" for t in sorted(given)[:3])
    raise UserError(f"timestep {told} is none of the scheduler's: steer the pipeline that is called")
