"""The model's own sampling runs, and training batches from them; the first half and the teacher are computed once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, field

import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.io.progress import track
from hspace_exp.io.seeding import LEARNING, generator, initial_noise
from hspace_exp.methods.learning import Noisy, OnPolicy
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
    shape = backbone.latent_shape
    steps: list[tuple[Tensor, Tensor]] = []

    def keep(step: int, t: Tensor, latents: Tensor) -> None:
        steps.append((latents, t))

    for start in range(0, len(runs), sampling.chunk_size):
        chunk = runs[start : start + sampling.chunk_size]
        noise = torch.stack([initial_noise(prompt, i, shape, image_seed, LEARNING) for prompt, i in chunk])
        steps.clear()
        sampling(backbone, noise, backbone.encode_prompts([prompt for prompt, _ in chunk]), on_step=keep)
        states, times = zip(*steps, strict=True)
        found["latents"].append(torch.stack(states, dim=1).cpu())
        found["timesteps"].append(torch.stack(times).to("cpu", backbone.noising.dtype).expand(len(chunk), -1).clone())
    return {name: torch.cat(parts) for name, parts in found.items()}


@dataclass(eq=False)
class OnPolicyStates:
    """B states of each of K concepts, drawn from the sampling runs of its prompts.

    Runs that several concepts share (those of the neutral prompts, mostly) are there once: S states in all, of which
    each concept uses some. So is what was computed of them, but for ``teacher``: concept → (N, C, H, W) the frozen
    model's prediction there under its positive prompt. ``encoded`` is the first half of the U-Net under the neutral
    prompt in half precision, which is far finer than what the loss tells apart; None where it is not kept. Where it is,
    all tensors are on the model's device, so that a step moves nothing but indices.
    """

    backbone: Backbone
    prompts: Concepts
    runs: InitVar[Mapping[str, Sequence[Trajectories]]]  # of each concept, of its ``wordings`` in turn
    settings: OnPolicy = field(default_factory=OnPolicy)
    _: KW_ONLY
    batch_size: int = 8
    timesteps: Sequence[int] = (0, 1000)  # only states in [first, last) are used
    seed: int = 0  # of which states a step sees
    steps: int | None = None  # that are drawn: no other state is asked about; None: all may be
    latents: Tensor = field(init=False)  # (S, C, H, W) states
    times: Tensor = field(init=False)  # (S,) their timesteps
    prompt: Tensor = field(init=False)  # (S,) the number of each state's neutral prompt among all of these
    used: dict[str, Tensor] = field(init=False, default_factory=dict)  # concept → (N,) which states it uses
    count: dict[str, int] = field(init=False, default_factory=dict)  # of those that a concept may use
    drawn: dict[str, Tensor] = field(init=False, default_factory=dict)  # concept → (N,) which of these it does, rising

    def __post_init__(self, runs: Mapping[str, Sequence[Trajectories]]) -> None:
        """Take the states, ask the teacher, and keep the first half of the U-Net where it fits."""
        worded = {name: wordings(some, self.settings.subjects) for name, some in self.prompts.items()}
        neutral = list(dict.fromkeys(prompt for some in worded.values() for prompt in some.neutral))
        self.neutral = self.backbone.encode_prompts(neutral)
        pairs = self._gather(runs, {name: some.neutral for name, some in worded.items()}, neutral)
        self.teacher = {name: self._teacher(name, some.positive, pairs[name]) for name, some in worded.items()}
        self.encoded = self._kept()
        if self.encoded is not None:
            device = self.backbone.device
            self.latents, self.times, self.prompt = (x.to(device) for x in (self.latents, self.times, self.prompt))
            self.used = {name: states.to(device) for name, states in self.used.items()}
            self.teacher = {name: predicted.to(device) for name, predicted in self.teacher.items()}

    def _gather(
        self, runs: Mapping[str, Sequence[Trajectories]], prompts: Mapping[str, tuple[str, ...]], neutral: list[str]
    ) -> dict[str, Tensor]:
        """Collect the states, those of a shared run once; returns which of its concept's prompts each is of."""
        shared: dict[tuple[int, tuple[str, ...]], tuple[Tensor, Tensor]] = {}  # of a run: its states and their prompts
        latents, times, prompt = (list[Tensor]() for _ in range(3))
        pairs = {}
        for name, own in prompts.items():
            for run in runs[name]:
                if (id(run), own) not in shared:
                    t, pair = run.timesteps.flatten(), run.prompt_of(len(own))
                    first, last = self.timesteps
                    inside = (t >= first) & ((t < last) | (last >= self.backbone.num_train_timesteps))  # t may be 1000
                    start = sum(map(len, times))
                    shared[id(run), own] = torch.arange(start, start + int(inside.sum())), pair[inside]
                    latents.append(run.latents.flatten(0, 1)[inside])
                    times.append(t[inside])
                    prompt.append(torch.tensor([neutral.index(one) for one in own])[pair[inside]])
            found = [shared[id(run), own] for run in runs[name]]
            self.used[name], pairs[name] = (torch.cat(some) for some in zip(*found, strict=True))
            if not len(self.used[name]):
                raise UserError(f"no step of the sampling runs is in timesteps {list(self.timesteps)}: widen them")
            self.count[name] = len(self.used[name])
            self.drawn[name] = torch.arange(self.count[name])
            if self.steps is not None:
                rows = [self._rows(name, step) for step in range(self.steps)]
                self.drawn[name] = some = torch.cat(rows).unique()
                self.used[name], pairs[name] = self.used[name][some], pairs[name][some]
        states = torch.cat([*self.used.values()]).unique()
        self.used = {name: torch.searchsorted(states, some) for name, some in self.used.items()}
        self.latents, self.times, self.prompt = (torch.cat(parts)[states] for parts in (latents, times, prompt))
        return pairs

    def _rows(self, name: str, step: int) -> Tensor:
        """(B,) which of its states a concept sees in a step."""
        random = generator("states", self.seed, name, step)
        return torch.randint(self.count[name], (self.batch_size,), generator=random)

    @torch.no_grad()
    def _teacher(self, name: str, prompts: Sequence[str], pairs: Tensor) -> Tensor:
        """The frozen model's prediction under the positive prompts at a concept's states, guided where asked for."""
        backbone, guidance, predicted = self.backbone, self.settings.teacher_guidance, []
        positive, unconditional = backbone.encode_prompts(list(prompts)), backbone.encode_prompts([""])
        for rows in self._parts(len(pairs), f"teacher of {name!r}"):
            states = self.used[name][rows]
            latents, t = self.latents[states], self.times[states].to(backbone.device)
            output = backbone.predict(latents, t, positive.index(pairs[rows].to(backbone.device)))
            if guidance != 1:
                plain = backbone.predict(latents, t, unconditional.expand(len(latents)))
                output = plain + guidance * (output - plain)
            predicted.append(output.cpu())
        return torch.cat(predicted)

    def passes(self, name: str) -> int:
        """U-Net passes of one row, whole or half, that were made for a concept before training; shared ones count."""
        a_state = (1 if self.settings.teacher_guidance == 1 else 2) + (self.encoded is not None)
        return a_state * len(self.used[name])

    def forget(self) -> None:
        """Give back the memory that states and kept halves take; nothing can be drawn any more."""
        self.encoded, self.latents, self.teacher = None, torch.empty(0), {}

    def _encode(self, rows: slice) -> Encoded:
        device = self.backbone.device
        embeds = self.neutral.index(self.prompt[rows].to(device))
        return encode(self.backbone, self.latents[rows], self.times[rows].to(device), embeds).to(device, torch.half)

    def _kept(self) -> Encoded | None:
        if self.backbone.is_transformer:
            return None
        one = self._encode(slice(0, 1))
        wanted, free = len(self.times) * one.bytes_a_row, free_bytes(one.h.device)
        if wanted > self.settings.kept_bytes or (free is not None and wanted > KEPT_SHARE * free):
            return None
        return Encoded.cat([self._encode(rows) for rows in self._parts(len(self.times), "first half")])

    def _parts(self, count: int, what: str) -> Iterator[slice]:
        """Rows that are passed at once."""
        size = self.backbone.rows_without_gradient
        yield from track([slice(start, start + size) for start in range(0, count, size)], description=what)

    def draw(self, step: int) -> Noisy:
        """The batch of one step, K x B rows."""
        device = self.backbone.device
        found, teacher = [], []
        for name, used in self.used.items():
            rows = torch.searchsorted(self.drawn[name], self._rows(name, step)).to(used.device)
            found.append(used[rows])
            teacher.append(self.teacher[name][rows])
        states = torch.cat(found)
        return Noisy(
            latents=self.latents[states].to(device),
            timesteps=self.times[states].to(device),
            embeds=self.neutral.index(self.prompt[states].to(device)),
            encoded=None if self.encoded is None else self.encoded.index(states).to(device, self.backbone.dtype),
            teacher=torch.cat(teacher).to(device),
        )


@torch.no_grad()
def presence_of(backbone: Backbone, runs: Trajectories, neutral: Sequence[str]) -> Tensor:
    """(C, H, W) mean of h over the states of sampling runs that show a concept.

    The runs are of its positive prompts, in turn; h is read under the ``neutral`` ones beside these.
    """
    total = torch.zeros(backbone.h_shape, dtype=torch.float64)
    for h in runs.h(backbone, neutral, "presence"):
        total += h.double().sum(0).cpu()
    return (total / runs.timesteps.numel()).float()
