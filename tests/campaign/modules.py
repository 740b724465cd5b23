"""What all cases share: modules are imported once, and files of conf/ parsed once."""

from __future__ import annotations

import gc
import importlib
import pkgutil

from hydra._internal.hydra import Hydra
from omegaconf import OmegaConf

import hspace_exp
from tests.conftest import parsing_once


def imported() -> None:
    """Import the package and what it imports late; from now on conf/ is read once."""
    for module in pkgutil.walk_packages(hspace_exp.__path__, "hspace_exp."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in (
        "lightning",
        "lightning.pytorch.callbacks",
        "open_clip",
        "wandb",
        "diffusers",
        "transformers",
        "matplotlib.backends.backend_agg",
    ):
        importlib.import_module(name)
    for name in (
        "StableDiffusionPipeline",
        "DDIMScheduler",
        "DPMSolverMultistepScheduler",
        "AutoencoderKL",
        "UNet2DConditionModel",
    ):
        getattr(importlib.import_module("diffusers"), name)
    for name in ("CLIPTextModel", "CLIPTokenizer", "CLIPTextModelWithProjection"):
        getattr(importlib.import_module("transformers"), name)
    OmegaConf.load = staticmethod(parsing_once())  # type: ignore[method-assign]
    Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]
    gc.collect()
    gc.freeze()
