"""Concept vectors on any diffusers pipeline, without a configuration: ``with steer(pipe, {file: 1.0}): pipe(text)``."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hspace_exp.concepts.concept import Concept, load_concept
from hspace_exp.errors import UserError, unknown
from hspace_exp.methods.frequency import LowFrequency, fft_lowpass, haar_lowpass
from hspace_exp.methods.steering import Window, guidance_factor
from hspace_exp.models.hspace import HEdit, edit_hspace

log = logging.getLogger(__name__)

# As conf/frequency, but of the run itself: a pipeline has no unedited run beside it.
WEIGHT = 0.35
FREQUENCIES = {"haar": haar_lowpass, "fft": fft_lowpass}
# Methods whose own edit is more than s * v.
OWN_EDITS = ("focused", "h_guidance")

File = str | Path
Weighted = tuple[Concept, float]
Stated = tuple[HEdit, float | None]  # and the guidance scale at which its strengths are stated


@contextmanager
def steer(
    pipe: Any,  # noqa: ANN401 (diffusers' pipelines share no useful type)
    concepts: Mapping[File, float] | Sequence[tuple[Concept | File, float]],
    *,
    frequency: str | LowFrequency | None = None,
    branch: str | None = None,
    window: Sequence[float] = (0.0, 1.0),
) -> Iterator[None]:
    """Steer every image that ``pipe`` makes inside the context: h' = h + sum_i s_i * v_i + lambda * LL(h).

    Outside the context, also after an exception, the U-Net is bit for bit what it was. Contexts nest.

    Args:
        pipe: a diffusers ``StableDiffusionPipeline`` or ``StableDiffusionXLPipeline``, or one of their variants
            (image to image, inpainting, ControlNet) whose batches are laid out [unconditional; conditional].
        concepts: concept files and their strengths s, or (concept or file, s) pairs. Several add up.
        frequency: LL, ``haar`` or ``fft`` with the published weight 0.35, or a ``LowFrequency`` of source ``current``.
        branch: ``both`` halves of guidance or the ``conditional`` one; None: each concept's own, as its file says, else
            ``both``. In the conditional half alone a vector acts guidance_scale times as strongly, so that strengths of
            a file that states its guidance scale are brought to the pipeline's, see ``guidance_factor``.
        window: the steps in which h is edited, [start, stop) as shares of the schedule.

    Raises:
        UserError: a file is missing or damaged, a setting has no meaning, or, from the first call of the U-Net, a
            vector does not fit this model and image size.
    """
    unet, weighted, low = _unet(pipe), _loaded(concepts), _low_frequency(frequency)
    if len(window) != 2:
        raise UserError(f"expected a window (start, stop), got {tuple(window)}")
    steered = _Steered(pipe, weighted, _edits(weighted, low, branch), Window(*window))
    for one, _ in weighted:
        if one.method.startswith(OWN_EDITS) and not one.method.endswith("_no_edit"):
            log.warning("%r (%s): applied as plain s * v here, without the edit of the method", one.name, one.method)
    with edit_hspace(unet, steered):
        yield


@dataclass
class _Steered:
    """What is done to h in each call of a pipeline's U-Net."""

    pipe: Any
    weighted: Sequence[Weighted]
    edits: Sequence[Stated]
    window: Window
    schedule: object = None
    calls: int = 0

    def __call__(self, h: Tensor) -> Tensor:
        channels, height, width = h.shape[1:]
        model = str(self.pipe.name_or_path or type(self.pipe).__name__)
        for concept, _ in self.weighted:
            concept.check_shape((channels, height, width), model)
        if self._done() not in self.window:
            return h
        # Unset before a pipeline's first call, when only direct calls of the U-Net, without guidance, come here.
        guided = bool(getattr(self.pipe, "do_classifier_free_guidance", False))
        for edit, stated in self.edits:
            h = self._now(edit, stated, guided)(h)
        return h

    def _now(self, edit: HEdit, stated: float | None, guided: bool) -> HEdit:
        """The edit under the guidance of this call."""
        if stated is None or not guided or edit.branch == "both":
            return replace(edit, guided=guided)
        factor = guidance_factor(stated, self.pipe.guidance_scale)
        weight = 1.0 if edit.lowpass_branch == "both" else factor
        return replace(edit, guided=guided, strength=factor, lowpass_weight=weight * edit.lowpass_weight)

    def _done(self) -> float:
        """Share of the schedule before this call, which is counted."""
        schedule = self.pipe.scheduler.timesteps
        if schedule is not self.schedule:  # every call of a pipeline sets its timesteps anew
            self.schedule, self.calls = schedule, 0
        done = self.calls / (getattr(self.pipe, "num_timesteps", None) or len(schedule))
        self.calls += 1
        return done


def _unet(pipe: Any) -> Any:  # noqa: ANN401
    """The U-Net of a pipeline that can be steered."""
    unet, kind = getattr(pipe, "unet", None), type(pipe)
    if unet is None or not hasattr(kind, "do_classifier_free_guidance"):
        raise UserError(f"expected a diffusers Stable Diffusion or SDXL pipeline with a U-Net, got {kind.__name__}")
    if hasattr(kind, "do_perturbed_attention_guidance"):
        raise UserError(f"{kind.__name__} guides with a third part of the batch: use the pipeline without it")
    if hasattr(unet, "_orig_mod") or unet._compiled_call_impl is not None:
        raise UserError("a compiled U-Net does not see edits of h: steer the pipeline without torch.compile")
    return unet


def _loaded(concepts: Mapping[File, float] | Sequence[tuple[Concept | File, float]]) -> list[Weighted]:
    """Concepts and strengths, in an order that these alone decide, so that sums are the same bit for bit."""
    given = list(concepts.items()) if isinstance(concepts, Mapping) else list(concepts)
    if not given:
        raise UserError("expected at least one concept with its strength, got none")
    weighted: list[Weighted] = []
    for pair in given:
        if not (isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], Concept | str | Path)):
            kind = type(pair).__name__
            raise UserError(f"expected {{file: strength}} or (concept or file, strength) pairs, got a {kind}")
        what, strength = pair
        if not isinstance(strength, int | float) or not math.isfinite(strength):
            raise UserError(f"expected a finite number as the strength of a concept, got {strength!r:.80}")
        weighted.append((what if isinstance(what, Concept) else load_concept(what), float(strength)))
    return sorted(weighted, key=lambda pair: (pair[0].name, pair[1]))


def _low_frequency(frequency: str | LowFrequency | None) -> LowFrequency:
    if isinstance(frequency, str):
        if frequency not in FREQUENCIES:
            raise unknown("low-frequency term", frequency, FREQUENCIES)
        return LowFrequency(WEIGHT, "current", FREQUENCIES[frequency])
    frequency = LowFrequency() if frequency is None else frequency
    if frequency.source == "original":
        raise UserError(
            "frequency.source 'original' needs the unedited run of the same seed, which a pipeline does not make: "
            "use source 'current', or a run of this project"
        )
    return frequency


def _edits(weighted: Sequence[Weighted], frequency: LowFrequency, branch: str | None) -> list[Stated]:
    """One edit a branch and guidance scale, applied in turn; the first adds the low frequencies of an unedited h."""
    terms: dict[tuple[str, float | None], list[Tensor]] = {}
    for concept, strength in weighted:
        own = branch or str(concept.hyperparameters.get("branch", "both"))
        stated = concept.hyperparameters.get("guidance_scale")
        terms.setdefault((own, stated), []).append(strength * concept.vector)
    edits = [
        (HEdit(torch.stack(torch.broadcast_tensors(*some)).sum(0), branch=own), stated)
        for (own, stated), some in terms.items()
    ]
    if frequency.weight:
        if len(edits) > 1 and frequency.branch is None:
            raise UserError("the concepts have different branches: say LowFrequency(branch=…), or steer(branch=…)")
        first, stated = edits[0]
        low = replace(first, lowpass=frequency.transform, lowpass_weight=frequency.weight)
        edits[0] = (replace(low, lowpass_branch=frequency.branch), stated)
    return edits
