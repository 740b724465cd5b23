"""The model's own sampling runs, and training batches from them; the first half and the teacher are computed once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.io.progress import track
from hspace_exp.io.seeding import generator, initial_noise
from hspace_exp.methods.learning import Noisy
from hspace_exp.methods.task import Trajectories
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.devices import free_bytes
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.split import Encoded, encode
from hspace_exp.prompts.attributes import Concepts
from hspace_exp.prompts.wording import wordings

# The share of free memory that the first halves may take: the rest is for the training step.
KEPT_SHARE = 1 / 3


def in_turn(prompts: Sequence[str], indices: Sequence[int]) -> list[tuple[str, int]]:
    """Runs of several prompts: run i is of the i mod C-th of C prompts, with that prompt's noise i div C."""
    return [(prompts[i % len(prompts)], i // len(prompts)) for i in indices]


@torch.no_grad()
def sample_trajectories(
    backbone: Backbone, sampling: Sampling, runs: Sequence[tuple[str, int]], image_seed: int
) -> dict[str, Tensor]:
    """Model inputs and timesteps of guided runs, each of a prompt and the index of its noise."""
    found: dict[str, list[Tensor]] = {"latents": [], "timesteps": []}
    for start in range(0, len(runs), sampling.chunk_size):
        chunk = runs[start : start + sampling.chunk_size]
        noise = torch.stack([initial_noise(prompt, i, backbone.latent_shape, image_seed) for prompt, i in chunk])
        states: list[Tensor] = []
        times: list[Tensor] = []

        def keep(
            step: int, t: Tensor, latents: Tensor, states: list[Tensor] = states, times: list[Tensor] = times
        ) -> None:
            states.append(latents)
            times.append(t)

        sampling(backbone, noise, backbone.encode_prompts([prompt for prompt, _ in chunk]), on_step=keep)
        found["latents"].append(torch.stack(states, dim=1).cpu())
        found["timesteps"].append(torch.stack(times).long().cpu().expand(len(chunk), -1).clone())
    return {name: torch.cat(parts) for name, parts in found.items()}


class OnPolicyStates:
    """B states of each of K concepts, drawn from the sampling runs of its prompts.

    Runs that several concepts share (those of the neutral prompts, mostly) are there once: S states in all, of which
    each concept uses some. So is what was computed of them, but for the teacher's predictions.

    Attributes:
        latents: (S, C, H, W) states.
        times: (S,) their timesteps.
        prompt: (S,) the number of each state's neutral prompt in ``neutral``.
        neutral: embeddings of the neutral prompts.
        counts: states that each concept uses.
        used: (N,) which they are, one concept after the other.
        teacher: (N, C, H, W) the frozen model's prediction there under the concept's positive prompt.
        encoded: the first half of the U-Net under the neutral prompt in half precision, which is far finer than what
            the loss tells apart; None where it is not kept. Where it is, all tensors are on the model's device, so that
            a step moves nothing but indices.
    """

    def __init__(
        self,
        backbone: Backbone,
        prompts: Concepts,
        runs: Mapping[str, Sequence[Trajectories]],
        *,
        batch_size: int = 8,
        timesteps: Sequence[int] = (0, 1000),
        seed: int = 0,
        subjects: Sequence[str] = (),
        kept_bytes: int = 4 * 2**30,
        teacher_guidance: float = 1.0,
    ) -> None:
        """Take the states, ask the teacher, and keep the first half of the U-Net where it fits.

        Args:
            backbone: the frozen model.
            prompts: K concepts by name, with their prompts.
            runs: sampling runs of each concept, of its ``wordings`` in turn.
            batch_size: B.
            timesteps: only states in [first, last) are used.
            seed: of which states a step sees.
            subjects: see ``OnPolicy``.
            kept_bytes: see ``OnPolicy``.
            teacher_guidance: see ``OnPolicy``.
        """
        self.backbone, self.names, self.seed, self.batch_size = backbone, tuple(prompts), seed, batch_size
        self.teacher_guidance = teacher_guidance
        self.wordings = {name: wordings(some, subjects) for name, some in prompts.items()}
        prompts_in_use = dict.fromkeys(prompt for some in self.wordings.values() for prompt in some.neutral)
        self.neutral = backbone.encode_prompts(list(prompts_in_use))
        pairs = self._gather(runs, timesteps, list(prompts_in_use))
        self.teacher = self._teacher(pairs)
        self.encoded = self._kept(kept_bytes)
        if self.encoded is not None:
            for kind in ("latents", "times", "prompt", "used", "teacher"):
                setattr(self, kind, getattr(self, kind).to(backbone.device))

    def _gather(
        self, runs: Mapping[str, Sequence[Trajectories]], timesteps: Sequence[int], neutral: list[str]
    ) -> Tensor:
        """Collect the states, those of a shared run once; returns which pair of its prompts each is of."""
        shared: dict[tuple[int, tuple[str, ...]], tuple[Tensor, Tensor]] = {}  # of a run: its states and their pairs
        latents, times, prompt, used, pairs = (list[Tensor]() for _ in range(5))
        self.counts: dict[str, int] = {}
        for name in self.names:
            own = self.wordings[name].neutral
            count = 0
            for run in runs[name]:
                key = id(run), own
                if key not in shared:
                    states, t, pair = _states(run, timesteps, len(own))
                    first = sum(len(some) for some in times)
                    shared[key] = torch.arange(first, first + len(t)), pair
                    latents.append(states)
                    times.append(t)
                    prompt.append(torch.tensor([neutral.index(one) for one in own])[pair])
                used.append(shared[key][0])
                pairs.append(shared[key][1])
                count += len(used[-1])
            if not count:
                raise UserError(f"no step of the sampling runs is in timesteps {list(timesteps)}: widen them")
            self.counts[name] = count
        self.latents, self.times, self.prompt, self.used = map(torch.cat, (latents, times, prompt, used))
        return torch.cat(pairs)

    def _teacher(self, pairs: Tensor) -> Tensor:
        """The frozen model's prediction under the positive prompts at all states, guided where that is asked for."""
        device, predicted = self.backbone.device, []
        unconditional, first = self.backbone.encode_prompts([""]), 0
        with torch.no_grad():
            for name, count in self.counts.items():
                positive = self.backbone.encode_prompts(list(self.wordings[name].positive))
                for rows in self._parts(count, f"teacher of {name!r}"):
                    states = self.used[first : first + count][rows]
                    latents, t = self.latents[states], self.times[states].to(device)
                    embeds = positive.index(pairs[first : first + count][rows].to(device))
                    output = self.backbone.predict(latents, t, embeds)
                    if self.teacher_guidance != 1:
                        plain = self.backbone.predict(latents, t, unconditional.expand(len(latents)))
                        output = plain + self.teacher_guidance * (output - plain)
                    predicted.append(output.cpu())
                first += count
        return torch.cat(predicted)

    def passes(self, name: str) -> int:
        """U-Net passes of one row, whole or half, that were made for a concept before training; shared ones count."""
        a_state = (1 if self.teacher_guidance == 1 else 2) + (self.encoded is not None)
        return a_state * self.counts[name]

    def forget(self) -> None:
        """Give back the memory that states and kept halves take; nothing can be drawn any more."""
        self.encoded = None
        self.latents = self.teacher = torch.empty(0)

    def _encode(self, rows: slice) -> Encoded:
        device = self.backbone.device
        embeds = self.neutral.index(self.prompt[rows].to(device))
        return encode(self.backbone, self.latents[rows], self.times[rows].to(device), embeds).to(device, torch.half)

    def _kept(self, kept_bytes: int) -> Encoded | None:
        one = self._encode(slice(0, 1))
        wanted, free = len(self.times) * one.bytes_a_row, free_bytes(one.h.device)
        if wanted > kept_bytes or (free is not None and wanted > KEPT_SHARE * free):
            return None
        return Encoded.cat([self._encode(rows) for rows in self._parts(len(self.times), "first half")])

    def _parts(self, count: int, what: str) -> Iterator[slice]:
        """Rows that are passed at once."""
        size = self.backbone.rows_without_gradient
        yield from track([slice(start, start + size) for start in range(0, count, size)], description=what)

    def draw(self, step: int) -> Noisy:
        """The batch of one step, K x B rows."""
        device, dtype = self.backbone.device, self.backbone.dtype
        chosen, first = [], 0
        for name, count in self.counts.items():
            random = generator("states", self.seed, name, step)
            chosen.append(first + torch.randint(count, (self.batch_size,), generator=random))
            first += count
        rows = torch.cat(chosen).to(self.used.device)
        states = self.used[rows]
        return Noisy(
            latents=self.latents[states].to(device),
            timesteps=self.times[states].to(device),
            embeds=self.neutral.index(self.prompt[states].to(device)),
            encoded=None if self.encoded is None else self.encoded.rows(states, device, dtype),
            teacher=self.teacher[rows].to(device),
        )


def _states(runs: Trajectories, timesteps: Sequence[int], prompts: int) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, timesteps and which of so many prompts, of those states of sampling runs that are in ``timesteps``."""
    latents, times, pairs = runs.latents.flatten(0, 1), runs.timesteps.flatten(0, 1), _pairs(runs, prompts)
    used = (times >= timesteps[0]) & (times < timesteps[1])
    return latents[used], times[used], pairs[used]


def _pairs(runs: Trajectories, prompts: int) -> Tensor:
    """(N T,) which of so many prompts each state of sampling runs is of, which take them in turn."""
    count, steps = runs.timesteps.shape
    return (torch.arange(count) % prompts).repeat_interleave(steps)


@torch.no_grad()
def presence_of(backbone: Backbone, runs: Trajectories, neutral: Sequence[str]) -> Tensor:
    """(C, H, W) mean of h over the states of sampling runs that show a concept.

    Args:
        backbone: the frozen model.
        runs: of the positive prompts, in turn.
        neutral: the prompts beside these, under which h is read.
    """
    total, count = torch.zeros(backbone.h_shape, dtype=torch.float64), 0
    latents, times = runs.latents.flatten(0, 1), runs.timesteps.flatten(0, 1)
    embeds, pairs = backbone.encode_prompts(list(neutral)), _pairs(runs, len(neutral)).to(backbone.device)
    rows = backbone.rows_without_gradient
    for some, t, of in zip(latents.split(rows), times.split(rows), pairs.split(rows), strict=True):
        h = encode(backbone, some, t.to(backbone.device), embeds.index(of)).h
        total, count = total + h.double().sum(0).cpu(), count + len(some)
    return (total / count).float()
