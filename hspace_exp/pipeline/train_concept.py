"""A concept vector from two prompts and a diffusers pipeline: ``train_concept``, which needs no configuration."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from hspace_exp.concepts.concept import Concept
from hspace_exp.config.checks import check
from hspace_exp.config.command_line import CONF, KNOWN, one_line
from hspace_exp.config.schema import register
from hspace_exp.errors import UserError
from hspace_exp.io.digest import essential
from hspace_exp.io.timing import Seconds
from hspace_exp.models.backbone import backbone_of
from hspace_exp.models.prompts import check_prompts
from hspace_exp.models.sampling import Sampling
from hspace_exp.pipeline.learning import Learning, vectors_of
from hspace_exp.pipeline.parts import plain_config
from hspace_exp.prompts.attributes import Attribute

CHUNK = 8  # images sampled at once


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
        cache: folder that keeps images, maps and vectors, so that the same call goes on where it was stopped, and does
            nothing when it is done; None keeps nothing.
        overrides: further settings as on the command line, e.g. ``["mask=attention", "method.training.batch_size=4"]``.

    Returns:
        the concept, not saved: ``concept.save(path)``.

    Raises:
        UserError: a setting, a prompt or the pipeline cannot be used.
    """
    given = [f"method={method}", *overrides, f"protocol.training_images={images}", f"protocol.training_steps={steps}"]
    given += [f"protocol.num_inference_steps={num_inference_steps}", f"seed={seed}", "attribute=custom"]
    register()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("config", given)
    except KNOWN as error:
        raise UserError(one_line(error)) from error
    cfg.attribute.positive, cfg.attribute.neutral = positive, neutral
    cfg.attribute.words, cfg.attribute.concept = words, name
    config = plain_config(cfg)
    check(config)
    backbone = backbone_of(pipe, guidance_scale)
    cfg.device = str(backbone.device)
    chosen, masks, make_scheduler, make_trainer = (
        instantiate(node, _convert_="all") for node in (cfg.method, cfg.mask, cfg.scheduler, cfg.trainer)
    )
    if chosen.training is None:
        raise UserError(f"method {method!r} learns no vectors: name another")
    learning = Learning(
        backbone=backbone,
        sampling=Sampling(num_inference_steps, make_scheduler, CHUNK),
        method=chosen,
        masks=masks,
        asked=Attribute.of(config["attribute"]).groups,
        images=images,
        steps=steps,
        seed=seed,
        image_seed=config["protocol"]["image_seed"],
        settings={
            "training": essential(config["method"]["training"], "method.training"),
            "mask": essential(config["mask"], "mask"),
            "precision": config["trainer"].get("precision"),
        },
    )
    check_prompts(backbone.encode_prompts, [positive, neutral])
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hspace_exp_")))
        stages, trainer = ("concepts", "masks", "training"), partial(make_trainer, logger=False)
        found = vectors_of(learning, stages, Path(cache or folder / "cache"), folder, trainer, Seconds())
    if found is None:
        raise UserError(f"method {method!r} left no vector")
    (concept,) = found.values()
    return concept
