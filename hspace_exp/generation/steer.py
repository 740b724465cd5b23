"""Concepts on a diffusers pipeline, without a configuration: ``with steer(pipe, {file: 2.0}): pipe(text)``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hspace_exp.concepts.concept import Concept, beside, load_concept
from hspace_exp.concepts.hub import local
from hspace_exp.errors import UserError, unknown
from hspace_exp.generation.passes import Passes, check
from hspace_exp.generation.request import SUM, asked_groups, configured
from hspace_exp.methods.base import Method
from hspace_exp.methods.frequency import LowFrequency
from hspace_exp.methods.steering import Steering, guidance_factor
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import JOIN, kept_by, parts_of, prompts_of, targets
from hspace_exp.prompts.plan import Item

PLAIN, BALANCED = "plain", "balanced"

File = str | Path
Given = Mapping[File, float | None] | Sequence[tuple[Concept | File, float | None]]


class steer(Passes):
    """Steer every image that ``pipe`` makes inside the context, as ``python -m hspace_exp generate`` would.

    Concepts are applied by the method that made them, whole. What else it needs it finds beside their files: concepts
    of the same attribute, and of those that ``focused`` keeps. Where it needs the unedited run, a call of the pipeline
    runs twice with the same noise, callbacks included. Outside the context, also after an exception, the pipeline is
    bit for bit what it was. It can be entered again, and there are ``load`` and ``unload``.

    Args:
        pipe: a Stable Diffusion or SDXL pipeline of diffusers, of a class in ``passes.TRIED``.
        concepts: concept files and their strengths s (None: as the file says), or (concept or file, s) pairs. A file of
            the Hugging Face hub is ``org/repo/name`` or ``org/repo/name@<revision>``, see ``concepts.hub``.
        method: None: their own. ``plain``: h' = h + sum_i s_i * v_i. Or a choice of conf/method.
        assignment: ``sum`` asks every image for all concepts, ``balanced`` for each (of each attribute) in turn.
        frequency: LL, a choice of conf/frequency or a ``LowFrequency``; None: as the method has it.
        branch: ``both`` halves of guidance or the ``conditional`` one; None: each concept's own, as its file or else
            the method says. In the conditional half alone a vector acts guidance_scale times as strongly: strengths
            of a file that states its guidance scale are brought to the pipeline's, see ``guidance_factor``.
        window: the steps in which vectors act, [start, stop) as shares of the whole schedule; None: the method's.
        guidance_scale: that of calls of ``pipe.unet`` in a loop of your own, whose batches are then laid out
            [unconditional; conditional] where it is above 1.

    Attributes:
        strength: of each concept, by its name; what is set holds from the pipeline's next call on.
        unedited: what the unedited run of the last call gave; None where the method needs none.

    Raises:
        UserError: the pipeline is of another kind, a file is missing or damaged, a setting has no meaning, or, from a
            call, a vector does not fit this model and image size, or nothing was edited.
    """

    def __init__(
        self,
        pipe: Any,  # noqa: ANN401 (diffusers' pipelines share no useful type)
        concepts: Given,
        *,
        method: str | None = None,
        assignment: str = SUM,
        frequency: str | LowFrequency | None = None,
        branch: str | None = None,
        window: Sequence[float] | None = None,
        guidance_scale: float | None = None,
    ) -> None:
        """Check all that can be checked before an image is made."""
        check(pipe)
        super().__init__(pipe, guidance_scale)
        asked, self.strength, folders = _loaded(concepts)
        self._method, self._low = _method(list(asked.values()), method, frequency)
        self._method = replace(self._method, window=self._method.window if window is None else window)
        whole = self._method.edit is not None
        self._concepts = beside(asked, folders) if whole else asked
        groups = asked_groups(self._concepts, list({one.attribute: 0 for one in asked.values()} if whole else asked))
        self._prompts, self._keep = prompts_of(groups), kept_by(groups) if self._method.keeps else {}
        if assignment not in (SUM, BALANCED):
            raise unknown("assignment", assignment, (SUM, BALANCED))
        self._targets = [JOIN.join(asked)] if assignment == SUM else targets(asked_groups(asked, list(asked)))
        if not self._method.composes and any(JOIN in target for target in self._targets):
            raise UserError(
                f"{self._method.name!r} asks an image for one concept only: name one, or say method='plain'"
            )
        # Concepts that enter h alike: the same branch, stated at the same guidance scale.
        self._terms: dict[tuple[str, float | None], list[str]] = {}
        for name, one in asked.items():
            own, stated = (one.hyperparameters.get(key) for key in ("branch", "guidance_scale"))
            own = replace(self._method, branch=str(branch or own or self._method.branch)).branch  # if it has a meaning
            stated = None if stated is None else _number(stated, f"guidance scale in the file of {name!r}")
            self._terms.setdefault((own, stated), []).append(name)
        if len(self._terms) > 1 and (whole or self._low.weight):
            raise UserError("the files state different branches or guidance scales: say branch=…, or method='plain'")

    def make(self, model: Backbone, count: int, guided: bool, scale: float | None) -> Steering:
        """What is done to a batch of ``count`` images."""
        for name, strength in self.strength.items():
            if name not in self._prompts:
                raise unknown("concept with a strength", name, self._prompts)
            _number(strength, "strength of a concept")
        for concept in self._concepts.values():
            concept.check_shape(model.h_shape, model.name)
        every = [self._targets[(self.made + row) % len(self._targets)] for row in range(count)]
        made = []
        for (branch, stated), names in self._terms.items():
            if scale is None and ("conditional" in (branch, self._low.branch) or len(self._targets) > 1):
                raise UserError("which rows are the conditional half is not known here: say steer(guidance_scale=…)")
            factor = 1.0 if stated is None or scale is None else guidance_factor(stated, scale)
            strengths = dict.fromkeys(self._prompts, 0.0) | self.strength
            method = replace(self._method, strength=strengths, branch=branch, factor=1.0)
            prompts = {name: some for name, some in self._prompts.items() if method.edit is not None or name in names}
            parts = [JOIN.join(name for name in parts_of(target) if name in names) for target in every]
            items = [Item("", "", row, part) for row, part in enumerate(parts)]
            made.append(method.apply(prompts, self._concepts, self._keep, self._low, factor)(model, items, guided))

        @contextmanager
        def together(done: float) -> Iterator[None]:
            with ExitStack() as stack:
                for one in made:
                    stack.enter_context(one.hooks(done))
                yield

        return made[0] if len(made) == 1 else Steering(together)


def _loaded(concepts: Given) -> tuple[dict[str, Concept], dict[str, float], list[Path]]:
    """Concepts and strengths, in an order that the names alone decide; and the folders of those from files."""
    given = list(concepts.items()) if isinstance(concepts, Mapping) else list(concepts)
    if not given:
        raise UserError("expected at least one concept with its strength, got none")
    found: dict[str, Concept] = {}
    strengths: dict[str, float] = {}
    folders: list[Path] = []
    for pair in given:
        if not (isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], Concept | str | Path)):
            kind = type(pair).__name__
            raise UserError(f"expected {{file: strength}} or (concept or file, strength) pairs, got a {kind}")
        one = pair[0] if isinstance(pair[0], Concept) else load_concept(local(pair[0]))
        strength = one.hyperparameters.get("strength", "none in its file") if pair[1] is None else pair[1]
        if one.name in found:
            raise UserError(f"two of the concepts are named {one.name!r}: name each concept once")
        found[one.name], strengths[one.name] = one, _number(strength, f"strength of {one.name!r}")
        if one is not pair[0] and one.folder is not None:
            folders.append(one.folder)
    return {name: found[name] for name in sorted(found)}, strengths, list(dict.fromkeys(folders))


def _number(value: object, what: str) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"expected a finite number as the {what}, got {value!r:.80}")
    return float(value)


def _method(
    concepts: Sequence[Concept], method: str | None, frequency: str | LowFrequency | None
) -> tuple[Method, LowFrequency]:
    """How concepts are applied: as the user says, or as they were made, if all of those act alike."""
    low = frequency if isinstance(frequency, str) else None
    names = [method] if method else list(dict.fromkeys(one.method for one in concepts))
    found = [configured("sdid" if name == PLAIN else name, low) for name in names]
    if len(found) > 1 and any(one.edit is not None or term.weight for one, term in found):
        raise UserError(
            f"the concepts were made by {' and '.join(names)}, which differ: say method=…, e.g. method='plain'"
        )
    own = Method(PLAIN, 0.0, "both") if method == PLAIN else found[0][0]
    return own, frequency if isinstance(frequency, LowFrequency) else found[0][1]
