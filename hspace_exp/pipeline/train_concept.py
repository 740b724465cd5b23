"""A concept vector from two prompts and a diffusers pipeline: ``train_concept``, which needs no configuration."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from hspace_exp.concepts.concept import Concept
from hspace_exp.config.checks import check
from hspace_exp.config.command_line import CONF, KNOWN, one_line
from hspace_exp.config.schema import register
from hspace_exp.errors import UserError
from hspace_exp.io.progress import Seconds
from hspace_exp.methods.task import MakeTrainer
from hspace_exp.models.backbone import Backbone, backbone_of
from hspace_exp.models.prompts import check_prompts
from hspace_exp.pipeline.learning import Learning, vectors_of
from hspace_exp.pipeline.parts import make_learnings, make_sampling, plain_config
from hspace_exp.prompts.attributes import Attribute


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
    seed: int = 0,
    cache: Path | str | None = None,
    overrides: Sequence[str] = (),
) -> Concept:
    """Learn one concept vector of a frozen pipeline, which itself makes the images that are learnt from.

    Args:
        pipe: a diffusers ``StableDiffusionPipeline`` or ``StableDiffusionXLPipeline``, on the device to train on. Its
            networks are frozen and otherwise left as they are.
        positive: prompt with the concept, e.g. "a photo of a smiling person".
        neutral: the same prompt without it, e.g. "a photo of a person".
        method: a choice of conf/method that learns vectors, e.g. ``sdid``, ``score_matching``, ``lwim``, ``focused``.
        name: of the concept; by default the words that ``neutral`` lacks.
        words: of ``positive`` that carry the concept; by default those that ``neutral`` lacks.
        images: made of the positive prompt, and learnt from.
        steps: budget of the optimiser.
        num_inference_steps: denoising steps of an image.
        guidance_scale: of the images; the usual one of the model's family by default.
        seed: of training.
        cache: folder that keeps images, maps and vectors, so that the same call goes on, or is done; None keeps none.
        overrides: further settings as on the command line, e.g. ``["mask=attention", "method.training.batch_size=4"]``.

    Returns:
        the concept, not saved: ``concept.save(path)``.

    Raises:
        UserError: a setting, a prompt or the pipeline cannot be used.
    """
    budget = {"training_images": images, "training_steps": steps, "num_inference_steps": num_inference_steps}
    own = {"positive": positive, "neutral": neutral, "words": words, "concept": name}
    cfg = _composed(method, [*overrides, *(f"protocol.{key}={value}" for key, value in budget.items()), f"seed={seed}"])
    cfg.attribute.update(own)  # not as overrides, whose grammar would read into prompts
    learning, make_trainer = _learning(cfg, backbone_of(pipe, guidance_scale))
    check_prompts(learning.backbone.encode_prompts, [positive, neutral])
    with tempfile.TemporaryDirectory(prefix="hspace_exp_") as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        stages, kept = ("concepts", "masks", "training"), Path(cache or Path(folder) / "cache")
        trainer = partial(make_trainer, logger=False)
        found = vectors_of(learning, stages, kept, Path(folder), trainer, Seconds())
    if found is None:
        raise UserError(f"method {method!r} left no vector")
    (concept,) = found.values()
    return concept


def _composed(method: str, overrides: Sequence[str]) -> DictConfig:
    register()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("config", [f"method={method}", "attribute=custom", *overrides])
    except KNOWN as error:
        raise UserError(one_line(error)) from error


def _learning(cfg: DictConfig, backbone: Backbone) -> tuple[Learning, MakeTrainer]:
    """What is to be learnt of a configuration, and who trains."""
    config = plain_config(cfg)
    check(config)
    cfg.device = str(backbone.device)
    method, masks, make_scheduler, make_trainer = (
        instantiate(node, _convert_="all") for node in (cfg.method, cfg.mask, cfg.scheduler, cfg.trainer)
    )
    if method.training is None:
        raise UserError(f"method {method.name!r} learns no vectors: name another")
    asked, sampling = Attribute.of(config["attribute"]).groups, make_sampling(config, backbone, make_scheduler)
    (learning,) = make_learnings(config, asked, backbone, sampling, method, masks)
    return learning, make_trainer
