"""Concepts on a diffusers pipeline, without a configuration: ``with steer(pipe, {file: 2.0}): pipe(text)``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hspace_exp.concepts.concept import Concept, load_concept
from hspace_exp.errors import UserError, unknown
from hspace_exp.generation.passes import Passes, check
from hspace_exp.generation.request import SUM, asked_groups, configured
from hspace_exp.methods.base import Method
from hspace_exp.methods.frequency import LowFrequency
from hspace_exp.methods.steering import Steering, guidance_factor
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Hooks
from hspace_exp.prompts.attributes import JOIN, kept_by, parts_of, prompts_of, targets
from hspace_exp.prompts.plan import Item

PLAIN, BALANCED = "plain", "balanced"

File = str | Path
Given = Mapping[File, float | None] | Sequence[tuple[Concept | File, float | None]]


def steer(
    pipe: Any,  # noqa: ANN401 (diffusers' pipelines share no useful type)
    concepts: Given,
    *,
    method: str | None = None,
    assignment: str = SUM,
    frequency: str | LowFrequency | None = None,
    branch: str | None = None,
    window: Sequence[float] | None = None,
    guidance_scale: float | None = None,
) -> Steered:
    """Steer every image that ``pipe`` makes inside the context, as ``python -m hspace_exp generate`` would.

    Concepts are applied by the method that made them, whole. What else it needs it finds beside the files: concepts of
    the same attribute, and of those that ``focused`` keeps. Where it needs the unedited run, a call of the pipeline
    runs twice with the same noise, callbacks included, and ``unedited`` of the context is what the first run gave.
    Outside the context, also after an exception, the pipeline is bit for bit what it was.

    Args:
        pipe: a Stable Diffusion or SDXL pipeline of diffusers, of a class in ``passes.TRIED``.
        concepts: concept files and their strengths s (None: as the file says), or (concept or file, s) pairs.
        method: None: their own. ``plain``: h' = h + sum_i s_i * v_i. Or a choice of conf/method.
        assignment: ``sum`` asks every image for all concepts, ``balanced`` for each (of each attribute) in turn.
        frequency: LL, a choice of conf/frequency or a ``LowFrequency``; None: as the method has it.
        branch: ``both`` halves of guidance or the ``conditional`` one; None: each concept's own, as its file or else
            the method says. In the conditional half alone a vector acts guidance_scale times as strongly: strengths
            of a file that states its guidance scale are brought to the pipeline's, see ``guidance_factor``.
        window: the steps in which vectors act, [start, stop) as shares of the whole schedule; None: the method's.
        guidance_scale: that of calls of ``pipe.unet`` in a loop of your own, whose batches are then laid out
            [unconditional; conditional] where it is above 1.

    Raises:
        UserError: the pipeline is of another kind, a file is missing or damaged, a setting has no meaning, or, from a
            call, a vector does not fit this model and image size, or nothing was edited.
    """
    return Steered(pipe, concepts, method, assignment, frequency, branch, window, guidance_scale)


class Steered(AbstractContextManager["Steered"]):
    """See ``steer``. A context that can be entered again, or ``load`` and ``unload``.

    Attributes:
        strength: of each concept, by its name; what is set holds from the pipeline's next call on.
    """

    def __init__(
        self,
        pipe: Any,
        concepts: Given,
        method: str | None,
        assignment: str,
        frequency: str | LowFrequency | None,
        branch: str | None,
        window: Sequence[float] | None,
        guidance_scale: float | None,
    ) -> None:
        """Check all that can be checked before an image is made."""
        check(pipe)
        given, folders = _loaded(concepts)
        self.strength = {one.name: strength for one, strength in given}
        asked = {one.name: one for one, _ in given}
        self._method, low = _method(list(asked.values()), method, frequency)
        self._low = frequency if isinstance(frequency, LowFrequency) else low
        if window is not None:
            self._method = replace(self._method, window=window)
        self._concepts = dict(asked)
        if self._method.edit is not None:
            self._concepts = _beside(asked, folders)
        groups = asked_groups(self._concepts, list(dict.fromkeys(one.attribute for one in asked.values())))
        self._prompts, self._keep = prompts_of(groups), kept_by(groups) if self._method.keeps else {}
        if assignment not in (SUM, BALANCED):
            raise unknown("assignment", assignment, (SUM, BALANCED))
        self._targets = [JOIN.join(asked)] if assignment == SUM else targets(asked_groups(asked, list(asked)))
        if any(len(parts_of(target)) > 1 for target in self._targets) and not self._method.composes:
            raise UserError(
                f"method {self._method.name!r} asks an image for one concept only: name one, or say method='plain'"
            )
        # Concepts that enter h alike: the same branch, stated at the same guidance scale.
        self._terms: dict[tuple[str, float | None], list[str]] = {}
        for one in asked.values():
            own = branch or str(one.hyperparameters.get("branch", self._method.branch))
            replace(self._method, branch=own)  # refuses what has no meaning
            self._terms.setdefault((own, one.hyperparameters.get("guidance_scale")), []).append(one.name)
        if len(self._terms) > 1 and (self._method.edit is not None or self._low.weight):
            raise UserError(
                "the files state different branches or guidance scales: say branch=…, or use their methods apart"
            )
        self._passes = Passes(pipe, self._make, guidance_scale)

    @property
    def unedited(self) -> Any:
        """What the unedited run of the pipeline's last call gave; None where the method needs none."""
        return self._passes.unedited

    def load(self) -> None:
        """Steer from now on."""
        self._passes.load()

    def unload(self) -> None:
        """Leave the pipeline as it was."""
        self._passes.unload()

    def __enter__(self) -> Steered:
        """Steer from now on."""
        self.load()
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the pipeline as it was."""
        self.unload()

    def _make(self, model: Backbone, count: int, guided: bool, scale: float | None) -> Steering:
        """What is done to a batch of ``count`` images."""
        for name, strength in self.strength.items():
            _check_strength(strength)
            if name not in self._prompts:
                raise unknown("concept with a strength", name, self._prompts)
        for concept in self._concepts.values():
            concept.check_shape(model.h_shape, model.name)
        strengths = dict.fromkeys(self._prompts, 0.0) | self.strength
        every = [self._targets[(self._passes.made + row) % len(self._targets)] for row in range(count)]
        made = []
        for (branch, stated), names in self._terms.items():
            if scale is None and branch == "conditional":
                raise UserError("which rows are the conditional half is not known here: say steer(guidance_scale=…)")
            factor = 1.0 if stated is None or scale is None else guidance_factor(stated, scale)
            method = replace(self._method, strength=strengths, branch=branch, factor=1.0)
            prompts = self._prompts if method.edit is not None else {name: self._prompts[name] for name in names}
            parts = [JOIN.join(name for name in parts_of(target) if name in names) for target in every]
            items = [Item("", "", row, part) for row, part in enumerate(parts)]
            made.append(method.apply(prompts, self._concepts, self._keep, self._low, factor)(model, items, guided))
        return made[0] if len(made) == 1 else Steering(_together([one.hooks for one in made]))


def _together(hooks: Sequence[Hooks]) -> Hooks:
    """All of these."""

    @contextmanager
    def together(done: float) -> Iterator[None]:
        with ExitStack() as stack:
            for one in hooks:
                stack.enter_context(one(done))
            yield

    return together


def _loaded(concepts: Given) -> tuple[list[tuple[Concept, float]], list[Path]]:
    """Concepts and strengths, in an order that the names alone decide; and the folders of those from files."""
    given = list(concepts.items()) if isinstance(concepts, Mapping) else list(concepts)
    if not given:
        raise UserError("expected at least one concept with its strength, got none")
    found: dict[str, tuple[Concept, float]] = {}
    folders = []
    for pair in given:
        if not (isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], Concept | str | Path)):
            kind = type(pair).__name__
            raise UserError(f"expected {{file: strength}} or (concept or file, strength) pairs, got a {kind}")
        what, strength = pair
        if not isinstance(what, Concept):
            folders.append(Path(what).parent)
            what = load_concept(what)
        if strength is None and (strength := what.hyperparameters.get("strength")) is None:
            raise UserError(f"the file of {what.name!r} states no strength: give one")
        _check_strength(strength)
        if what.name in found:
            raise UserError(f"two of the concepts are named {what.name!r}: name each concept once")
        found[what.name] = what, float(strength)
    return [found[name] for name in sorted(found)], list(dict.fromkeys(folders))


def _check_strength(strength: object) -> None:
    if not isinstance(strength, int | float) or not math.isfinite(strength):
        raise UserError(f"expected a finite number as the strength of a concept, got {strength!r:.80}")


def _method(
    concepts: Sequence[Concept], method: str | None, frequency: str | LowFrequency | None
) -> tuple[Method, LowFrequency]:
    """How concepts are applied: as the user says, or as they were made; where they differ, by adding what only adds."""
    own = frequency if isinstance(frequency, str) else None
    if method == PLAIN:
        low = LowFrequency() if own is None else configured("sdid", own)[1]
        return Method(PLAIN, 0.0, "both"), low
    found = [configured(name, own) for name in ([method] if method else dict.fromkeys(one.method for one in concepts))]
    if len(found) > 1 and any(one.edit is not None or low.weight for one, low in found):
        names = " and ".join(one.name for one, _ in found)
        raise UserError(f"the concepts were made by {names}, which act differently: say method=…, e.g. method='plain'")
    return found[0]


def _beside(asked: Mapping[str, Concept], folders: Sequence[Path]) -> dict[str, Concept]:
    """These, and all concepts of their making in their folders, by name."""
    makings = {(one.model, one.revision, one.method, one.h_shape) for one in asked.values()}
    found = dict(asked)
    for file in sorted(file for folder in folders for file in folder.glob("*.safetensors")):
        try:
            one = load_concept(file)
        except UserError:  # other things may lie there, too
            continue
        if (one.model, one.revision, one.method, one.h_shape) in makings:
            found.setdefault(one.name, one)
    return {name: found[name] for name in sorted(found)}
