"""A concept vector from two prompts and a diffusers pipeline: ``train_concept``, which needs no configuration."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hspace_exp.concepts.concept import Concept
from hspace_exp.config.checks import check, plain_config
from hspace_exp.config.command_line import composed
from hspace_exp.errors import UserError
from hspace_exp.io.progress import Seconds
from hspace_exp.models.backbone import Backbone, backbone_of
from hspace_exp.pipeline.learning import vectors_of
from hspace_exp.pipeline.parts import Parts, make_parts


def train_concept(
    pipe: Any,  # noqa: ANN401 (diffusers' pipelines share no useful type)
    *,
    positive: str,
    neutral: str,
    method: str = "sdid",
    name: str = "",
    words: str = "",
    images: int = 64,
    steps: int = 600,
    num_inference_steps: int = 20,
    guidance_scale: float | None = None,
    site: str | None = None,
    seed: int = 0,
    cache: Path | str | None = None,
    overrides: Sequence[str] = (),
) -> Concept:
    """Learn one concept vector of a frozen pipeline, which itself makes the images that are learnt from.

    Args:
        pipe: a diffusers pipeline of Stable Diffusion, PixArt, SANA or FLUX, on the device to train on, whose networks
            are frozen and otherwise left as they are; or a ``Backbone``, with its own guidance scale and site.
        positive: prompt with the concept, e.g. "a photo of a smiling person".
        neutral: the same prompt without it, e.g. "a photo of a person".
        method: a choice of conf/method that learns vectors, e.g. ``sdid``, ``score_matching``, ``lwim``, ``focused``.
        name: of the concept; by default the words that ``neutral`` lacks.
        words: of ``positive`` that carry the concept; by default those that ``neutral`` lacks.
        images: made of the positive prompt, and learnt from.
        steps: budget of the optimiser.
        num_inference_steps: denoising steps of an image.
        guidance_scale: of the images; the usual one of the model's family by default.
        site: where a transformer is edited, e.g. ``block:12`` (``models.sites.Site``); its middle block by default.
        seed: of training.
        cache: folder that keeps images, maps and vectors, so that the same call goes on, or is done; None keeps none.
        overrides: further settings as on the command line, e.g. ``["mask=attention", "method.training.batch_size=4"]``.

    Returns:
        the concept, not saved: ``concept.save(path)``. It states no strength, as nobody has looked at what it does,
        unless ``overrides`` say one: ``method.strength=2``.

    Raises:
        UserError: a setting, a prompt or the pipeline cannot be used.
    """
    budget = {"training_images": images, "training_steps": steps, "num_inference_steps": num_inference_steps}
    numbers = [*(f"protocol.{key}={value}" for key, value in budget.items()), f"seed={seed}"]
    prompts = {"positive": positive, "neutral": neutral, "words": words, "concept": name}
    backbone = pipe if isinstance(pipe, Backbone) else backbone_of(pipe, guidance_scale, site)
    parts = _parts([f"method={method}", "protocol.rates_for_steps=null", *overrides, *numbers], prompts, backbone)
    if not parts.learnings:
        raise UserError(f"method {method!r} learns no vectors: name another")
    (learning,), trainer = parts.learnings, partial(parts.make_trainer, logger=False)
    with tempfile.TemporaryDirectory(prefix="hspace_exp_") as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        stages, kept = ("concepts", "masks", "training"), Path(cache or Path(folder) / "cache")
        found = vectors_of(learning, stages, kept, Path(folder), trainer, Seconds())
    if found is None:
        raise UserError(f"method {method!r} left no vector")
    (concept,) = found.values()
    return concept


def _parts(overrides: Sequence[str], prompts: Mapping[str, str], backbone: Backbone) -> Parts:
    """What a configuration of one concept describes."""
    cfg = composed(["attribute=custom", *overrides])
    cfg.attribute.update(prompts)  # not as overrides, whose grammar would read into them
    cfg.prompts.professions = cfg.protocol.professions = ["person"]  # no images of professions are made
    cfg.device = str(backbone.device)
    config = plain_config(cfg)
    check(config)
    return make_parts(cfg, config, backbone)
