"""Concepts on a diffusers pipeline: ``with steer(pipe, {file: 2.0}): pipe(text)``, and the Python that says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hspace_exp.concepts.concept import LARGEST_STRENGTH, WEIGHTS, Concept, beside, concept_files, load_concept
from hspace_exp.concepts.hub import local
from hspace_exp.config.command_line import choices, composed
from hspace_exp.errors import UserError, unknown
from hspace_exp.generation.passes import Passes, check
from hspace_exp.generation.request import SUM, asked_groups, configured, edit_of, scale_of, way_of
from hspace_exp.methods.base import Method
from hspace_exp.methods.frequency import LowFrequency
from hspace_exp.methods.steering import Steering
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import JOIN, parts_of, prompts_of, targets
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
        self.site, *others = {one.site for one in asked.values()}
        if others or self.site == WEIGHTS:
            raise UserError("the concepts are for several sites, or for weights: name those of one, or say generate")
        own, low = _method(list(asked.values()), method, frequency)
        own = replace(own, window=own.window if window is None else window)
        whole = own.edit is not None
        self._way, self._concepts = (own, low), beside(asked, folders) if whole else asked
        names = list({one.attribute: 0 for one in asked.values()} if whole else asked)
        self._groups = asked_groups(self._concepts, names)
        if assignment not in (SUM, BALANCED):
            raise unknown("assignment", assignment, (SUM, BALANCED))
        self._targets = [JOIN.join(asked)] if assignment == SUM else targets(asked_groups(asked, list(asked)))
        if not own.composes and any(JOIN in target for target in self._targets):
            raise UserError(f"{own.name!r} asks an image for one concept only: name one, or say method='plain'")
        # Concepts that enter h alike: the same branch, stated at the same guidance scale.
        self._terms: dict[tuple[str, float | None], list[str]] = {}
        for name, one in asked.items():
            half = replace(own, branch=branch or one.used.branch or own.branch).branch  # if it has a meaning
            self._terms.setdefault((half, one.used.guidance_scale), []).append(name)
        if len(self._terms) > 1 and (whole or low.weight):
            raise UserError("the files state different branches or guidance scales: say branch=…, or method='plain'")

    def make(self, model: Backbone, count: int, guided: bool, scale: float | None) -> Steering:
        """What is done to a batch of ``count`` images."""
        known, (method, low) = prompts_of(self._groups), self._way
        for name, strength in self.strength.items():
            if name not in known:
                raise unknown("concept with a strength", name, known)
            _number(strength, "strength of a concept")
        for concept in self._concepts.values():
            concept.check_shape(model.h_shape, model.name)
        every = [self._targets[(self.made + row) % len(self._targets)] for row in range(count)]
        made = []
        for (branch, _), names in self._terms.items():
            if scale is None and ("conditional" in (branch, low.branch) or len(self._targets) > 1):
                raise UserError("which rows are the conditional half is not known here: say steer(guidance_scale=…)")
            factor = 1.0 if scale is None else scale_of([self._concepts[name] for name in names], scale)
            way = replace(method, branch=branch), low
            edit = edit_of(way, self._concepts, self._groups, self.strength, factor)
            parts = [JOIN.join(name for name in parts_of(target) if name in names) for target in every]
            made.append(edit(model, [Item("", "", row, part) for row, part in enumerate(parts)], guided))

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
        if one.name in found:
            raise UserError(f"two of the concepts are named {one.name!r}: name each concept once")
        own = "none in its file" if one.used.strength is None else one.used.strength
        strength = own if pair[1] is None else pair[1]
        found[one.name], strengths[one.name] = one, _number(strength, f"strength of {one.name!r}")
        if one is not pair[0] and one.folder is not None:
            folders.append(one.folder)
    return {name: found[name] for name in sorted(found)}, strengths, list(dict.fromkeys(folders))


def _number(value: object, what: str) -> float:
    if not isinstance(value, int | float) or not abs(value) <= LARGEST_STRENGTH:
        raise UserError(f"expected a finite number as the {what}, got {value!r:.80}")
    return float(value)


def _method(
    concepts: Sequence[Concept], method: str | None, frequency: str | LowFrequency | None
) -> tuple[Method, LowFrequency]:
    """How concepts are applied: as the user says, or as they were made, if all of those act alike."""
    low = frequency if isinstance(frequency, str) else None
    names = [method] if method else list(dict.fromkeys(one.method for one in concepts))
    found = []
    for name in names:
        made = [one for one in concepts if one.method == name and one.used.applied and not method]
        found.append(way_of(made, low) if made else configured("sdid" if name == PLAIN else name, low))
    if len(found) > 1 and any(one.edit or term.weight or tuple(one.window) != (0, 1) for one, term in found):
        told = " and ".join(names)
        raise UserError(f"the concepts were made by {told}, which differ: say method=…, e.g. method='plain'")
    own = Method(PLAIN, 0.0, "both") if method == PLAIN else found[0][0]
    return own, frequency if isinstance(frequency, LowFrequency) else found[0][1]


def show(files: Sequence[Path], prompt: str) -> None:
    """Print Python that makes images of a prompt with the concepts of files, at the strengths that they state, or 1.

    Several concepts of an attribute make a fair batch. A model is named where conf/model knows it; the names that files
    give are only compared. Raises UserError: a file cannot be read, or they are for several models.
    """
    found = {str(file): load_concept(file) for file in concept_files(files)}
    model, *others = {concept.model for concept in found.values()}
    if others:
        raise UserError(f"the concept files are for several models ({', '.join([model, *others])}): name those of one")
    known = (composed([f"model={name}"], "generate").model for name in choices("model"))
    node = next((node for node in known if model in (node.name, node.source)), None)
    source, scale = (node.source, f", guidance_scale={node.guidance_scale}") if node else ("FOLDER OF THE MODEL", "")
    strengths = {repr(file): 1.0 if one.used.strength is None else one.used.strength for file, one in found.items()}
    fair = len({concept.attribute for concept in found.values()}) < len(found)
    asked, count = (', assignment="balanced"', f" * {len(found)}") if fair else ("", "")
    print(python(repr(source), f"[{prompt!r}]{count}{scale}", strengths, asked), end="")


def python(
    pipe: str, call: str, strengths: Mapping[str, float], asked: str = "", imports: Sequence[str] = (), then: str = ""
) -> str:
    """Python that saves an image of a pipeline, steered where ``strengths`` name files; all are given as expressions.

    ``pipe`` and ``call`` are arguments of the pipeline's making and of its call, ``asked`` more ones of ``steer``;
    ``then`` stands behind the making.
    """
    held = ", ".join(f"{file}: {strength!r}" for file, strength in strengths.items())
    steered = f"with steer(pipe, {{{held}}}{asked}):\n    " if strengths else ""
    lines = ["import diffusers", *imports, *(["from hspace_exp import steer"] if strengths else []), ""]
    lines += [f"pipe = diffusers.DiffusionPipeline.from_pretrained({pipe}){then}"]
    return "\n".join([*lines, f"{steered}images = pipe({call}).images", 'images[0].save("image.png")', ""])
