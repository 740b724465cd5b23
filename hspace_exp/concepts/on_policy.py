"""Training batches from the model's own sampling runs, with everything before h and the teacher computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hspace_exp.concepts.noised import embeds_of
from hspace_exp.concepts.objectives import Noisy
from hspace_exp.concepts.rows_at_once import rows_without_gradient
from hspace_exp.concepts.trajectories import Trajectories
from hspace_exp.errors import UserError, unknown
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.free_memory import free_bytes
from hspace_exp.models.split import Encoded, encode
from hspace_exp.progress import track
from hspace_exp.seeding import generator

RUNS = ("neutral", "positive")
# The share of free memory that the first halves may take: the rest is for the training step.
KEPT_SHARE = 1 / 3


@dataclass(frozen=True)
class OnPolicy:
    """Settings: which runs states come from.

    Attributes:
        runs: prompts whose sampling runs are visited: ``neutral``, ``positive`` or both, in equal numbers.
        kept_bytes: the first half of the U-Net is kept for all states of all concepts where that takes at most this,
            and at most a third of what a GPU has free.
        teacher_guidance: scale of guidance of the prediction under the positive prompt that is learnt from; 1: none.
    """

    runs: Sequence[str] = RUNS
    kept_bytes: int = 4 * 2**30
    teacher_guidance: float = 1.0

    def __post_init__(self) -> None:
        """Refuse unknown runs."""
        for run in self.runs:
            if run not in RUNS:
                raise unknown("run (method.training.on_policy.runs)", run, RUNS)
        if not self.runs:
            raise UserError(f"method.training.on_policy.runs is empty: name at least one of {', '.join(RUNS)}")


class OnPolicyStates:
    """B states of each of K concepts, drawn from the sampling runs of its prompts."""

    def __init__(
        self,
        backbone: Backbone,
        prompts: Mapping[str, Mapping[str, str]],
        runs: Mapping[str, Sequence[Trajectories]],
        *,
        batch_size: int = 8,
        timesteps: Sequence[int] = (0, 1000),
        seed: int = 0,
        kept_bytes: int = 4 * 2**30,
        teacher_guidance: float = 1.0,
    ) -> None:
        """Take the states, ask the teacher, and keep the first half of the U-Net where it fits.

        Args:
            backbone: the frozen model.
            prompts: K concepts by name, each with ``positive`` and ``neutral``.
            runs: sampling runs of each concept.
            batch_size: B.
            timesteps: only states in [first, last) are used.
            seed: of which states a step sees.
            kept_bytes: see ``OnPolicy``.
            teacher_guidance: see ``OnPolicy``.
        """
        self.backbone, self.names, self.seed, self.batch_size = backbone, tuple(prompts), seed, batch_size
        self.teacher_guidance = teacher_guidance
        self.prompts = prompts
        self.take(slice(0, batch_size))
        self.latents, self.times, self.teacher = {}, {}, {}
        self.encoded: dict[str, Encoded] = {}
        for name in self.names:
            latents, times = (
                torch.cat([getattr(r, kind).flatten(0, 1) for r in runs[name]]) for kind in ("latents", "timesteps")
            )
            used = (times >= timesteps[0]) & (times < timesteps[1])
            if not used.any():
                raise UserError(f"no step of the sampling runs is in timesteps {list(timesteps)}: widen them")
            self.latents[name], self.times[name] = latents[used], times[used]
            self.teacher[name] = self._taught(name, prompts[name]["positive"])
        self._keep(prompts, kept_bytes)

    def _taught(self, name: str, positive: str) -> Tensor:
        """The frozen model's prediction under the positive prompt at all states, guided where that is asked for."""
        rows = rows_without_gradient(self.backbone)
        pairs = list(zip(self.latents[name].split(rows), self.times[name].split(rows), strict=True))
        conditional, unconditional = (self.backbone.encode_prompts([prompt]) for prompt in (positive, ""))
        taught = []
        with torch.no_grad():
            for latents, times in track(pairs, description=f"teacher of {name!r}"):
                t = times.to(self.backbone.device)
                output = self.backbone.predict(latents, t, conditional.expand(len(latents)))
                if self.teacher_guidance != 1:
                    plain = self.backbone.predict(latents, t, unconditional.expand(len(latents)))
                    output = plain + self.teacher_guidance * (output - plain)
                taught.append(output.cpu())
        return torch.cat(taught)

    def passes(self, name: str) -> int:
        """U-Net passes of one row, whole or half, that were made for a concept before training."""
        a_state = (1 if self.teacher_guidance == 1 else 2) + bool(self.encoded)
        return a_state * len(self.times[name])

    def _encode(self, name: str, neutral: str, rows: slice) -> Encoded:
        """In half precision: sixteen bits are far finer than what the loss tells apart."""
        latents, times = self.latents[name][rows], self.times[name][rows].to(self.backbone.device)
        embeds = self.backbone.encode_prompts([neutral]).expand(len(latents))
        return encode(self.backbone, latents, times, embeds).to(self.backbone.device, torch.half)

    def _keep(self, prompts: Mapping[str, Mapping[str, str]], kept_bytes: int) -> None:
        neutral = {name: prompts[name]["neutral"] for name in self.names}
        one = self._encode(self.names[0], neutral[self.names[0]], slice(0, 1))
        wanted, free = sum(len(times) for times in self.times.values()) * one.bytes_a_row, free_bytes(one.h.device)
        if wanted > kept_bytes or (free is not None and wanted > KEPT_SHARE * free):
            return
        rows = rows_without_gradient(self.backbone)
        for name in self.names:
            starts = range(0, len(self.times[name]), rows)
            parts = track(starts, description=f"first half for {name!r}")
            self.encoded[name] = Encoded.cat(
                [self._encode(name, neutral[name], slice(start, start + rows)) for start in parts]
            )

    def take(self, rows: slice) -> None:
        """From now on draw these of the B rows of each concept only; other processes take the rest."""
        self.taken = rows
        self.embeds = embeds_of(self.backbone, self.prompts, "neutral", rows.stop - rows.start)

    def draw(self, step: int) -> Noisy:
        """The batch of one step, K x B rows, or of each B those taken."""
        device, dtype = self.backbone.device, self.backbone.dtype
        rows = {
            name: torch.randint(
                len(self.times[name]), (self.batch_size,), generator=generator("states", self.seed, name, step)
            )[self.taken]
            for name in self.names
        }

        def chosen(tensors: Mapping[str, Tensor]) -> Tensor:
            return torch.cat([tensors[name][rows[name]] for name in self.names]).to(device)

        encoded = None
        if self.encoded:
            encoded = Encoded.cat([self.encoded[name].rows(rows[name], device, dtype) for name in self.names])
        return Noisy(
            latents=chosen(self.latents),
            timesteps=chosen(self.times),
            embeds=self.embeds,
            encoded=encoded,
            teacher=chosen(self.teacher),
        )


@torch.no_grad()
def presence_of(backbone: Backbone, runs: Trajectories, neutral: str) -> Tensor:
    """(C, H, W) mean of h under ``neutral`` over the states of sampling runs that show a concept."""
    total, count = torch.zeros(backbone.h_shape, dtype=torch.float64), 0
    latents, times = runs.latents.flatten(0, 1), runs.timesteps.flatten(0, 1)
    rows = rows_without_gradient(backbone)
    for some, t in zip(latents.split(rows), times.split(rows), strict=True):
        h = encode(backbone, some, t.to(backbone.device), backbone.encode_prompts([neutral]).expand(len(some))).h
        total, count = total + h.double().sum(0).cpu(), count + len(some)
    return (total / count).float()
