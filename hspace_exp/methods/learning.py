"""How vectors are trained: the settings, what an objective is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, get_args

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor

from hspace_exp.config.schema import MOST
from hspace_exp.errors import UserError
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit
from hspace_exp.models.prompts import PromptEmbeds
from hspace_exp.models.split import Encoded, decode

Run = Literal["neutral", "positive"]
RUNS: tuple[Run, ...] = get_args(Run)


@dataclass(frozen=True)
class Noisy:
    """Noisy latents under the neutral prompt, B rows."""

    latents: Tensor  # (B, C, H, W) z_t
    timesteps: Tensor  # (B,) t
    embeds: PromptEmbeds  # of the neutral prompts
    # (B, C, H, W) what the U-Net was trained to predict there; None where the noise is not known
    target: Tensor | None = None
    maps: Tensor | None = None  # (B, 1, S, S) attribute maps in [0, 1], where the objective needs them
    positive: PromptEmbeds | None = None  # of the prompts with the attribute
    words: PromptEmbeds | None = None  # of the attribute's words alone
    encoded: Encoded | None = None  # the first half of the U-Net at the latents, where it is kept
    teacher: Tensor | None = None  # (B, C, H, W) the frozen model's prediction under ``positive``, where it is kept

    def rows(self, part: slice) -> Noisy:
        """Some of the rows."""
        whole: dict[str, Any] = {name: x for name, x in vars(self).items() if x is not None}
        own: dict[str, Any] = {name: x[part] if isinstance(x, Tensor) else x.index(part) for name, x in whole.items()}
        return replace(self, **own)

    def predict(self, backbone: Backbone, edit: HEdit) -> Tensor:
        """The U-Net's prediction (B, C, H, W) with h edited."""
        if self.encoded is not None:
            return decode(backbone, self.encoded, edit(self.encoded.h), self.embeds)
        with backbone.edited(edit):
            return backbone.predict(self.latents, self.timesteps, self.embeds)

    def training_target(self) -> Tensor:
        """What the U-Net was trained to predict here (B, C, H, W): the noise, or v."""
        if self.target is None:
            raise UserError("the loss reconstruction needs noised images: use score_matching with states on policy")
        return self.target

    def model_target(self, backbone: Backbone) -> Tensor:
        """The frozen model's own prediction under ``positive`` (B, C, H, W)."""
        if self.teacher is not None:
            return self.teacher
        if self.positive is None:
            raise UserError("the loss score_matching needs the prompts with the attribute")
        with torch.no_grad():
            return backbone.predict(self.latents, self.timesteps, self.positive)


class Objective:
    """Turns vectors and a noisy batch into one loss a row: what ``method.training.objective`` names derives from it."""

    needs_maps: ClassVar[bool] = False  # whether batches need attribute maps
    targets_from_model: ClassVar[bool] = False  # whether the target is ``Noisy.model_target``
    parts: ClassVar[int] = 1  # vectors that a concept is learnt as, P; they are joined along the channels
    # U-Net passes of one row, without and with a gradient (a backward pass); ``model_target`` counts apart
    passes: ClassVar[tuple[int, int]] = (0, 1)

    def __call__(self, backbone: Backbone, vectors: Tensor, batch: Noisy) -> Tensor:
        """Losses (B,) of vectors (B, P C, H, W) or (B, P C, 1, 1)."""
        raise NotImplementedError

    def start(self, backbone: Backbone, kind: str, random: torch.Generator) -> Tensor:
        """Initial values of a concept's parts, (P C, H, W) or (P C, 1, 1), of standard deviation one."""
        channels, height, width = backbone.h_shape
        return torch.randn(self.parts * channels, *((height, width) if kind == "spatial" else (1, 1)), generator=random)

    def found(self, trained: Tensor) -> tuple[Tensor, dict[str, float]]:
        """What is added at inference, (C, ...), of trained parts (P C, ...), and what is worth noting of them."""
        return trained, {}


def denoising_loss(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of W (target - prediction)^2 over each row; (B,) losses.

    Of the U-Net's output and what it should be, the noise or v, (B, C, H, W) each, and W (B, 1, H, W), non-negative;
    None is 1 everywhere. Implements the loss of SDID (Li et al., 2024) for W = 1, and L_w of Shokrolahi et al. (2026).
    """
    squared = (target - prediction).square()
    return (squared if weight is None else weight * squared).mean((1, 2, 3))


@dataclass(frozen=True)
class OnPolicy:
    """Settings: which runs states come from."""

    # whose states are visited: sampling runs of the prompts ``neutral``, ``positive`` or both, in equal numbers
    runs: Annotated[Sequence[Run], Field(min_length=1)] = RUNS
    # of these prompts, in turn, see ``wordings``: what else than a person shows the concept; none: the concept's own
    subjects: Sequence[str] = ()
    # up to which the U-Net's first half is kept for all states of all concepts, and a third of what a GPU has free
    kept_bytes: int = 4 * 2**30
    teacher_guidance: float = 1.0  # scale of the prediction under the positive prompt that is learnt from; 1: none


@dataclass(frozen=True)
class Training:
    """How vectors are trained."""

    objective: Objective  # the loss
    optimizer: Callable[[list[Any]], Any]  # makes one for a list of parameters
    vector: Literal["spatial", "channel"] = "spatial"  # (C, H, W) or (C, 1, 1)
    init_std: NonNegativeFloat = 0.0  # standard deviation of the initial values; 0 starts at zero
    batch_size: PositiveInt = 8  # rows a concept and step
    timesteps: tuple[int, int] = (0, 1000)  # drawn uniformly from [first, last)
    decay: Literal["none", "cosine"] = "none"  # of the learning rate over the steps; cosine: to zero
    on_policy: OnPolicy | None = None  # learn from states of the model's own runs, not noised images of the attribute
    presence: bool = False  # also measure the mean h of images that show the concept; needs positive runs on policy
    steps_multiplier: PositiveInt = 1  # steps for each of the budget: more where a batch is smaller than others'

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.presence and (self.on_policy is None or "positive" not in self.on_policy.runs):
            raise UserError("method.training.presence needs on_policy with the run positive")
        if self.on_policy is not None and self.objective.needs_maps:
            raise UserError("states on policy have no attribute maps: use another objective, or on_policy=null")
        if self.on_policy is None and self.objective.parts > 1:
            raise UserError("an objective of several vectors learns from states on policy: name on_policy")
        if not 0 <= self.timesteps[0] < self.timesteps[1]:
            raise UserError(f"expected method.training.timesteps [first, last) with first < last, got {self.timesteps}")
        try:
            rate = self.rate
        except (ValueError, TypeError) as error:
            raise UserError(f"method.training.optimizer: {error}") from error
        if not 0 < rate <= MOST:
            raise UserError(f"expected method.training.optimizer.lr above 0 and at most {MOST:g}, got {rate}")

    @property
    def rate(self) -> float:
        """The learning rate."""
        return float(self.optimizer([torch.zeros(1, requires_grad=True)]).param_groups[0]["lr"])

    @property
    def needs(self) -> frozenset[str]:
        """What is learnt from, see ``Learner``."""
        if self.on_policy is not None:
            return frozenset(self.on_policy.runs)
        return frozenset({"images", "maps"} if self.objective.needs_maps else {"images"})

    @property
    def subjects(self) -> Sequence[str]:
        """Of ``on_policy``."""
        return () if self.on_policy is None else self.on_policy.subjects
