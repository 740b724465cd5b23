"""Learning Where It Matters: the vector is learnt where the attribute shows (Shokrolahi, Kang & Kim, TMLR 2026).

What the paper leaves open is read here as ``Localised`` and the formulas below say. At inference
h' = h + s * v + lambda * LL(h), see ``AddedVector`` and ``LowFrequency``; chi, m and W act in training only.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor

from hspace_exp.methods.learning import Noisy, Objective, denoising_loss
from hspace_exp.models.attention import AttentionMargin, suppress_cross_attention
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit

Share = Annotated[float, Field(ge=0, le=1)]
POOLS: dict[str, Any] = {"area": F.adaptive_avg_pool2d, "max": F.adaptive_max_pool2d}


def W(maps: Tensor, beta: float, alpha: float = 1.0) -> Tensor:
    """W = alpha + beta * map, in [alpha, alpha + beta]: the weight of L_w, of maps in [0, 1] of any shape.

    Both are at least 0; in the paper beta is 0.4 and alpha 1. With alpha = 0 the loss counts where the attribute shows,
    and nowhere else.
    """
    return alpha + beta * maps


def m(maps: Tensor, sharpness: float, floor: float = 0.0) -> Tensor:
    """The inverted, sigmoid-modulated map by which h is attenuated: 1 where the map is 0, and ``floor`` where it is 1.

    r + (1 - r) (1 - (s(k (x - 1/2)) - s(-k/2)) / (s(k/2) - s(-k/2))), s the logistic function; the paper leaves k open.
    Maps are in [0, 1] and of any shape. A small sharpness k > 0 makes m linear, a large one a step at 1/2. With the
    floor r = 0 the vector must supply all of h there, with r = 1 there is no m; the authors' prototype of June 2025 has
    one, as its gain on h never leaves [0.6, 1].
    """
    low, high = torch.sigmoid(torch.tensor([-sharpness / 2, sharpness / 2], dtype=maps.dtype, device=maps.device))
    return 1 - (1 - floor) * (torch.sigmoid(sharpness * (maps - 0.5)) - low) / (high - low)


def chi(
    backbone: Backbone, batch: Noisy, maps: Tensor, source: str, threshold: float, placed: bool = False
) -> Tensor | AttentionMargin:
    """What cross-attention's output is multiplied by, pixel by pixel: 1 away from the attribute, 0 where it shows.

    By the source ``map`` it is 1 - map, of (B, 1, S, S) attribute maps in [0, 1]. By ``margin`` it is
    [a_psi / (a_psi + a_T) >= tau], where a_psi and a_T are what a content token of the batch's neutral prompt and of
    the attribute's words gets from one joint softmax, see ``AttentionMargin``; the threshold tau is 0.5 in the paper.
    """
    if source == "map":
        return 1 - maps
    if batch.words is None:
        raise ValueError("the margin of attention needs the attribute's words")
    return AttentionMargin(
        batch.embeds.content_mask,
        backbone.context(batch.words.encoder_hidden_states),
        batch.words.content_mask,
        threshold,
        placed,
    )


def L_w(prediction: Tensor, target: Tensor, maps: Tensor, beta: float, alpha: float = 1.0) -> Tensor:
    """L_w = mean of W (target - prediction)^2 over each row of (B, C, H, W): (B,) losses.

    (B, 1, S, S) attribute maps in [0, 1] are brought to (H, W) by the largest value; beta and alpha are those of W.
    """
    height, width = target.shape[-2:]
    return denoising_loss(prediction, target, W(F.adaptive_max_pool2d(maps, (height, width)), beta, alpha))


@dataclass(frozen=True)
class Localised(Objective):
    """E ||sqrt(W) (target - unet(z_t, t, neutral; chi, m h + v))||^2, the training of Shokrolahi et al. (2026)."""

    beta: NonNegativeFloat = 0.4  # of W; 0: W = alpha
    alpha: NonNegativeFloat = 1.0  # of W
    sharpness: PositiveFloat | None = 10.0  # k of m; None keeps h as it is (m = 1)
    floor: Share = 0.0  # r of m
    pool: Literal["area", "max"] = "max"  # how maps get to h's size for m; chi and W always take the largest value
    # cross-attention modules whose output is multiplied by chi; None keeps them (chi = 1)
    scope: Literal["final", "encoder", "before_h", "all"] | None = "final"
    source: Literal["map", "margin"] = "map"  # of chi
    threshold: Share = 0.5  # tau of the margin
    placed: bool = False  # whether the margin is of where tokens are read, see ``AttentionMargin``
    needs_maps: ClassVar[bool] = True

    def edit(self, backbone: Backbone, vectors: Tensor, attenuation: Tensor | None, batch: Noisy) -> HEdit:
        """How vectors (B, C, H, W) enter h that is attenuated by (B, 1, H, W): m h + v."""
        return HEdit(vector=vectors, attenuation=attenuation)

    def __call__(self, backbone: Backbone, vectors: Tensor, batch: Noisy) -> Tensor:
        """Losses (B,)."""
        if batch.maps is None:
            raise ValueError("Localised needs attribute maps")
        at_h = POOLS[self.pool](batch.maps, backbone.h_shape[1:])
        attenuation = None if self.sharpness is None else m(at_h, self.sharpness, self.floor)
        edit = self.edit(backbone, vectors, attenuation, batch)
        with ExitStack() as hooks:
            if self.scope is not None:
                keep = chi(backbone, batch, batch.maps, self.source, self.threshold, self.placed)
                hooks.enter_context(suppress_cross_attention(backbone.unet, keep, self.scope))
            prediction = batch.predict(backbone, edit)
        return L_w(prediction, batch.training_target(), batch.maps, self.beta, self.alpha)
