"""What the page shows, without the page: pictures unedited and edited, what a judge reads in them, fair batches."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError, unknown
from hspace_exp.evaluation.functional.fairness import deviation_ratio, deviation_ratio_floor
from hspace_exp.evaluation.judges import Judge
from hspace_exp.generation.request import asked_groups, edit_of, scale_of, way_of
from hspace_exp.generation.request import strengths as strengths_of
from hspace_exp.io.images import as_float, to_uint8
from hspace_exp.io.progress import LISTENER
from hspace_exp.methods.steering import Edit, Foresight, UneditedRuns
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Hooks, Sampling
from hspace_exp.models.schedulers import KINDS, make_scheduler
from hspace_exp.pipeline.train_concept import train_concept
from hspace_exp.prompts.attributes import Group, judged_by, targets
from hspace_exp.prompts.explicit import names_attribute
from hspace_exp.prompts.plan import Item

DRAFT_STEPS = 10
USUAL_STRENGTH = 2.0  # of a concept whose file states none
KEPT = 8  # noises whose unedited runs are kept
CHUNK = 8  # images of a batch at once

Tell = Callable[[str, int, int], None]  # what is done, how many of it, of how many


@dataclass(frozen=True)
class Asked:
    """A picture to make: of one prompt and seed, with one concept ("" for none) at one strength."""

    prompt: str
    concept: str = ""
    strength: float = 0.0
    seed: int = 0
    steps: int = 20
    guidance: float = 3.0
    scheduler: str = "native"

    @property
    def draft(self) -> Asked:
        """The same in fewer steps."""
        return replace(self, steps=min(self.steps, DRAFT_STEPS))


@dataclass(frozen=True)
class Shown:
    """Pictures of the same noises, (N, H, W, 3) uint8 before and after, and what is known of them."""

    before: np.ndarray
    after: np.ndarray
    targets: tuple[str, ...]  # what each was asked for, "" where it was left alone
    named: tuple[str, ...] = ()  # words by which the prompt names the attribute itself
    gate: np.ndarray | None = None  # (N, h, w) float in [0, 1], where the edit could act; None: no gate
    # attribute → value of each before and after
    seen: Mapping[str, list[tuple[str, str]]] = field(default_factory=dict)

    @property
    def changed(self) -> list[bool]:
        """Whether each picture differs from its unedited one."""
        return [bool((a != b).any()) for a, b in zip(self.before, self.after, strict=True)]


@dataclass(frozen=True)
class Fair:
    """A batch that was asked for each concept of an attribute in turn."""

    shown: Shown
    attribute: str
    counts: Mapping[str, tuple[int, int]]  # value that the judge read → images before and after
    ratio: tuple[float, float] | None  # deviation ratio before and after; None where even shares are not what is asked
    floor: float | None  # what it would be on average if each image drew its value evenly


@dataclass
class _Kept:
    """The unedited run of some noises: its images, and for each kind of edit what that reads from it."""

    before: np.ndarray | None = None
    runs: dict[tuple[Any, ...], UneditedRuns] = field(default_factory=dict)


class Session:
    """One model, its concepts, and a judge where there is one; one call at a time."""

    def __init__(self, backbone: Backbone, concepts: Mapping[str, Concept], judge: Judge | None = None) -> None:
        """Take the parts. Raises UserError: a concept does not fit the model."""
        for concept in concepts.values():
            concept.check(backbone)
        self.backbone, self.concepts, self.judge = backbone, dict(concepts), judge
        self._kept: dict[tuple[Any, ...], _Kept] = {}
        self._finished: dict[Asked, Shown] = {}
        self._lock = threading.Lock()

    def strength_of(self, name: str) -> float:
        """The strength that a concept's file states, or the usual one."""
        return strengths_of(self.concepts, [name], None, USUAL_STRENGTH)[name]

    def named(self, asked: Asked) -> tuple[str, ...]:
        """Words by which the prompt names the concept's attribute itself."""
        found = (names_attribute(asked.prompt, group.explicit) for group in self._groups(asked.concept))
        return tuple(dict.fromkeys(chain(*found)))

    def look(self, asked: Asked) -> Shown:
        """One picture. Raises UserError: the prompt is empty or too long, or something asked for is unknown."""
        with self._lock:
            if asked not in self._finished:
                target = asked.concept if asked.strength else ""
                shown = self._show(asked, [asked.seed], [target], {asked.concept: asked.strength})
                self._finished[asked] = self._judged(shown, self._groups(asked.concept))
                _forget(self._finished)
            return self._finished[asked]

    def look_ahead(self, asked: Asked) -> tuple[Asked, Shown]:
        """One picture in fewer steps, or the finished one where it was made already; and which of them it is."""
        with self._lock:
            chosen = asked if asked in self._finished else asked.draft
        return chosen, self.look(chosen)

    def prepare(self, asked: Asked) -> None:
        """Have the unedited run of a draft at hand, so that the first move of the slider is as quick as others."""
        with self._lock:
            kept = self._kept.get(_noises(asked.draft, [asked.seed]))
        if kept is None or self._kind(asked) not in kept.runs:
            self.look(asked.draft)

    def fair(self, asked: Asked, count: int, tell: Tell = lambda *_: None) -> Fair:
        """A batch of seeds from ``asked.seed`` on, asked for each concept of the attribute in turn.

        Each has the strength of its own file, and ``asked.strength`` where that states none.
        """
        if not asked.concept:
            raise UserError("a fair batch needs a concept: choose one, or train one")
        groups, (attribute,) = self._groups(asked.concept), {self.concepts[asked.concept].attribute}
        every = targets(groups)
        strengths = strengths_of(self.concepts, every, None, asked.strength)
        parts = []
        with self._lock:
            for start in range(0, count, CHUNK):
                rows = range(start, min(start + CHUNK, count))
                seeds, chosen = [asked.seed + row for row in rows], [every[row % len(every)] for row in rows]
                parts.append(self._show(asked, seeds, chosen, strengths))
                tell("pictures", rows.stop, count)
            shown = self._judged(_joined(parts), groups)
        return _counted(shown, attribute, self._values(attribute, groups), even=len(every) > 1)

    def train(self, positive: str, neutral: str, method: str, images: int, steps: int, tell: Tell) -> str:
        """Train a concept from two prompts; returns the name by which it is here now."""
        with self._lock:
            token = LISTENER.set(tell)
            try:
                concept = train_concept(
                    self.backbone, positive=positive, neutral=neutral, method=method, images=images, steps=steps
                )
            finally:
                LISTENER.reset(token)
            numbers = ("", *(f"_{n}" for n in range(2, len(self.concepts) + 3)))
            name = next(new for n in numbers if (new := concept.name + n) not in self.concepts)
            # Alone in its attribute: two of one's own need not exclude each other.
            self.concepts[name] = replace(concept, name=name, attribute=name)
            return name

    def _groups(self, name: str) -> tuple[Group, ...]:
        """The group of a concept, and what its method keeps; none of ""."""
        return asked_groups(self._made_alike(name), [self.concepts[name].attribute]) if name else ()

    def _made_alike(self, name: str) -> dict[str, Concept]:
        """A concept and all those of its making, as ``steer`` finds them beside its file."""
        if name not in self.concepts:
            raise unknown("concept", name, self.concepts)
        making = self.concepts[name].making
        return {other: one for other, one in sorted(self.concepts.items()) if one.making == making}

    def _kind(self, asked: Asked) -> tuple[Any, ...]:
        """What decides how an edit reads an unedited run."""
        concept = self.concepts[asked.concept]
        return *concept.making, concept.attribute

    def _edit(self, asked: Asked, strengths: Mapping[str, float], scale: float, runs: UneditedRuns) -> Edit:
        """How concepts enter h, as with ``steer`` at a guidance scale."""
        concept = self.concepts[asked.concept]
        alike, groups = self._made_alike(asked.concept), self._groups(asked.concept)
        return edit_of(way_of([concept]), alike, groups, strengths, scale_of([concept], scale), runs=runs)

    @torch.no_grad()
    def _show(self, asked: Asked, seeds: Sequence[int], wanted: Sequence[str], strengths: Mapping[str, float]) -> Shown:
        """Pictures of some seeds, each asked for its target, unless the prompt names the attribute."""
        if not asked.prompt.strip():
            raise UserError('the prompt is empty: give one, e.g. "a photo of a doctor"')
        self.backbone.encode_prompts([asked.prompt])  # refuses one that the model does not take whole
        named = self.named(asked)
        wanted = [""] * len(seeds) if named else wanted
        kept = self._kept_of(asked, seeds)
        items = [Item(asked.prompt, "", seed, target) for seed, target in zip(seeds, wanted, strict=True)]
        if asked.scheduler not in KINDS:
            raise unknown("scheduler kind", asked.scheduler, KINDS)
        scheduler = partial(make_scheduler, kind=cast(Any, asked.scheduler))
        sampling = Sampling(asked.steps, scheduler, CHUNK, asked.guidance)
        noise, embeds = self._noise(seeds), self.backbone.encode_prompts([asked.prompt] * len(seeds))

        def sample(hooks: Hooks | None = None, rows: Tensor | None = None) -> Tensor:
            some = slice(None) if rows is None else rows.cpu()
            return sampling(self.backbone, noise[some], embeds if rows is None else embeds.index(rows), hooks)

        if not any(wanted):
            kept.before = self._decoded(sample()) if kept.before is None else kept.before
            return Shown(kept.before, kept.before, tuple(wanted), named)
        runs = kept.runs.setdefault(self._kind(asked), UneditedRuns())
        edit = self._edit(asked, strengths, max(1.0, asked.guidance), runs)
        steering = edit(self.backbone, items, asked.guidance > 1)
        latents = steering.sampled(sample, items)
        unedited, gate = _read(steering.foresight, runs)
        if kept.before is None:
            kept.before = self._decoded(sample() if unedited is None else unedited)
        rest = [True] * len(seeds) if unedited is None else (unedited != latents).flatten(1).any(1).tolist()
        after = kept.before.copy()
        if any(rest):
            after[rest] = self._decoded(latents[rest])
        return Shown(kept.before, after, tuple(wanted), named, gate)

    def _kept_of(self, asked: Asked, seeds: Sequence[int]) -> _Kept:
        """What is kept of some noises, and of those last asked for."""
        key = _noises(asked, seeds)
        self._kept[key] = found = self._kept.pop(key, None) or _Kept()
        _forget(self._kept)
        return found

    def _noise(self, seeds: Sequence[int]) -> Tensor:
        """(N, C, H, W) float32 noise, each as a pipeline draws it from ``torch.Generator().manual_seed(seed)``."""
        if min(seeds) < 0:
            raise UserError(f"expected a seed of at least 0, got {min(seeds)}")
        shape, dtype = self.backbone.latent_shape, self.backbone.dtype
        drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) for seed in seeds]
        return torch.stack(drawn).float()

    def _decoded(self, latents: Tensor) -> np.ndarray:
        return to_uint8(self.backbone.decode_latents(latents))

    def _knowing(self, groups: Sequence[Group]) -> Judge | None:
        """The judge, which also tells the concepts of these groups apart, where it can learn to."""
        judge: Any = self.judge
        return judge.knowing(judged_by(groups)) if hasattr(judge, "knowing") else judge

    def _values(self, attribute: str, groups: Sequence[Group]) -> tuple[str, ...]:
        judge = self._knowing(groups)
        return () if judge is None else tuple(judge.attributes.get(attribute, ()))

    def _judged(self, shown: Shown, groups: Sequence[Group]) -> Shown:
        """With what the judge reads in each picture; "unclear" where it cannot tell."""
        judge = self._knowing(groups)
        if judge is None:
            return shown
        both = np.concatenate([shown.before, shown.after])
        seen = {}
        for attribute, classes in judge.judge(as_float(torch.from_numpy(both))).items():
            read = [judge.attributes[attribute][c] if c >= 0 else "unclear" for c in classes.tolist()]
            seen[attribute] = list(zip(read[: len(shown.before)], read[len(shown.before) :], strict=True))
        return replace(shown, seen=seen)


def _noises(asked: Asked, seeds: Sequence[int]) -> tuple[Any, ...]:
    """What decides unedited runs."""
    return asked.prompt, tuple(seeds), asked.steps, asked.guidance, asked.scheduler


def _read(foresight: Foresight | None, runs: UneditedRuns) -> tuple[Tensor | None, np.ndarray | None]:
    """Latents of the unedited run that an edit made, if it made one, and its gate at the end, if it has one."""
    if foresight is None or not runs.kept:
        return None, None
    latents, _, gates = zip(*runs.kept.values(), strict=True)
    last = [gate[-1] for gate in gates if gate and gate[-1] is not None]
    return torch.stack(latents), torch.stack(last)[:, 0].float().cpu().numpy() if last else None


def _forget(kept: dict[Any, Any]) -> None:
    """Drop the oldest."""
    while len(kept) > KEPT:
        kept.pop(next(iter(kept)))


def _joined(parts: Sequence[Shown]) -> Shown:
    before, after = (np.concatenate([getattr(part, name) for part in parts]) for name in ("before", "after"))
    return Shown(before, after, tuple(chain(*(part.targets for part in parts))), parts[0].named)


def _counted(shown: Shown, attribute: str, values: Sequence[str], even: bool) -> Fair:
    """Counts of a judge's values; how even they are, where at least one image is clear before and after."""
    seen = shown.seen.get(attribute, [])
    before, after = (Counter(pair[moment] for pair in seen) for moment in (0, 1))
    counts = {
        value: (before[value], after[value])
        for value in (*values, "unclear")
        if value in values or before[value] + after[value]
    }
    clear = [[counts[value][moment] for value in values] for moment in (0, 1)]
    if not (even and values and all(map(sum, clear))):
        return Fair(shown, attribute, counts, None, None)
    ratios = [float(deviation_ratio(torch.tensor(one))) for one in clear]
    return Fair(shown, attribute, counts, (ratios[0], ratios[1]), deviation_ratio_floor(sum(clear[1]), len(values)))
