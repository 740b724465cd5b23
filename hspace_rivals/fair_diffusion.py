"""Fair Diffusion (Friedrich et al., 2023) by semantic guidance of the noise estimate, SEGA (Brack et al., 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from hspace_exp.errors import UserError
from hspace_exp.methods.steering import Application, Steering, strength_of
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.plan import Item
from hspace_exp.prompts.wording import PERSON
from hspace_rivals.beside import check


def edit_prompt(prompts: ConceptPrompts) -> str:
    """The text of a direction: "female person", as released, or "young person"."""
    return f"{prompts.adjective or prompts.words} {PERSON}"


def peaks(psi: Tensor, threshold: float) -> Tensor:
    """What of psi (..., H, W) is used: where its size reaches its ``threshold``-quantile, else 0.

    Quantiles are taken over H and W, so that each channel of each sample has its own, as in the code in diffusers; they
    are interpolated linearly.
    """
    size = psi.abs()
    least = torch.quantile(size.flatten(-2), threshold, dim=-1)[..., None, None]
    return torch.where(size >= least, psi, 0.0)


@dataclass
class SemanticGuidance:
    """gamma_t of the samples of a batch, one step after the other, by section 3 of Brack et al. (2023).

    gamma_t = s_e * sum_c sign_c * mu(psi_c) + s_m * nu_t with psi_c = eps(z_t, c) - eps(z_t) and mu, see ``peaks``;
    nu_{t+1} = beta_m * nu_t + (1 - beta_m) * gamma_t, and nu is 0 at first.
    """

    signs: Tensor  # (R, K) of R samples and K directions: 1 is towards, -1 away
    strength: Tensor  # (R,) s_e
    threshold: float  # lambda
    momentum: float  # s_m
    decay: float  # beta_m
    grown: Tensor | None = field(default=None, init=False)  # (R, C, H, W) nu

    def step(self, unconditional: Tensor, directions: Tensor) -> Tensor:
        """gamma_t (R, C, H, W) of predictions (R, C, H, W) and (R, K, C, H, W), float32."""
        psi = peaks(directions - unconditional[:, None], self.threshold) * self.signs[:, :, None, None, None]
        before = torch.zeros_like(unconditional) if self.grown is None else self.grown
        guidance = self.strength[:, None, None, None] * psi.sum(1) + self.momentum * before
        self.grown = self.decay * before + (1 - self.decay) * guidance
        return guidance


@dataclass(frozen=True)
class FairDiffusion:
    """u + w * (c - u) + gamma_t: the noise estimate is pushed towards the target's words and away from the others'.

    Of the paper and its released code: SEGA in two directions at once, of which one is negated ("female person" and
    "male person"), with one scale for both, one momentum of their sum, and no edit while that warms up. Nothing is
    learnt; s_e is ``method.strength``. Our reading: where an attribute has more than two concepts, images are pushed
    away from all the others; the warm-up is a share of the steps, so that it means the same for any number of them;
    outside of ``method.window`` there is neither an edit nor a momentum.

    Adding gamma_t to both halves of guidance adds it to the estimate. A model of v is guided in v: at a given z_t its
    psi is that of eps times one positive number, so the same places are kept and the same is added. Momentum alone
    weighs earlier steps otherwise; steps at which that number is infinite need no care.
    """

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.95  # lambda
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.1  # share of the steps that are not edited
    momentum: Annotated[float, Field(ge=0)] = 0.5  # s_m
    decay: Annotated[float, Field(ge=0, le=1)] = 0.6  # beta_m
    keeps: ClassVar[bool] = False
    composes: ClassVar[bool] = False  # of several attributes, none knows which concepts are the others of its own

    def steer(self, application: Application, backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        """Steering of ``items``, see ``Editor``.

        Raises UserError: there is a low-frequency term, which is one of h, or the model is that of a pipeline that is
        being called.
        """
        a, device = application, backbone.device
        check(a, backbone, items, "fair_diffusion edits")
        if a.frequency.weight:
            raise UserError("fair_diffusion edits the noise estimate, not h: say frequency=none")
        asked = [row for row, item in enumerate(items) if item.target]
        if not asked:
            return Steering()
        targets = [items[row].target for row in asked]
        signs = [[1.0 if name == target else -1.0 for name in a.prompts] for target in targets]
        strength = [strength_of(a.strength, target) for target in targets]
        numbers = torch.tensor(signs, device=device), torch.tensor(strength, device=device)
        guidance = SemanticGuidance(*numbers, self.threshold, self.momentum, self.decay)
        first = torch.tensor(asked, device=device)
        halves = [first, first + len(items)] if guided else [first]
        where = torch.cat(halves[-1:] if a.branch == "conditional" else halves)
        texts = [*map(edit_prompt, a.prompts.values()), *([] if guided else [""])]
        embeds = backbone.encode_prompts([text for text in texts for _ in asked])

        def gamma(latents: Tensor, timesteps: Tensor, output: Tensor) -> Tensor:
            """Of the samples that are asked for something, from one more call of the U-Net."""
            repeated = latents[first].repeat(len(texts), 1, 1, 1), timesteps[first].repeat(len(texts))
            made = backbone.predict(*repeated, embeds).unflatten(0, (len(texts), len(asked))).transpose(0, 1)
            return guidance.step(output[first].float() if guided else made[:, -1], made[:, : len(a.prompts)])

        @contextmanager
        def hooks(done: float) -> Iterator[None]:
            busy, shown = False, done + 1e-9 >= self.warm_up

            def add(unet: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any], output: Any) -> Any:
                nonlocal busy
                if busy:  # with the call that is made here
                    return None
                busy = True
                latents, t = args[0], args[1] if len(args) > 1 else kwargs["timestep"]
                noise, rest = output.sample.tensor_split([latents.shape[1]], dim=1)  # PixArt tells a variance, too
                found = gamma(latents, t, noise).repeat(len(where) // len(asked), 1, 1, 1)
                busy = False
                edited = torch.cat([noise.index_add(0, where, found.to(noise.dtype)), rest], dim=1)
                return type(output)(edited) if shown else None

            handle = backbone.unet.register_forward_hook(add, with_kwargs=True)
            try:
                yield
            finally:
                handle.remove()

        return Steering(lambda done: hooks(done) if done in a.window else nullcontext())
