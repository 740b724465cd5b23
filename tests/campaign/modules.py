"""What all cases share: modules are imported once, and files of conf/ parsed once."""

from __future__ import annotations

import copy
import functools
import gc
import importlib
import io
import pkgutil
from pathlib import Path
from typing import IO, Any

import yaml
from hydra._internal.hydra import Hydra
from omegaconf import OmegaConf

import hspace_exp


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
    honest = OmegaConf.load
    parsed = functools.cache(lambda text: honest(io.StringIO(text)))

    def load(file: str | Path | IO[str]) -> Any:
        text = Path(file).read_text(encoding="utf-8") if isinstance(file, str | Path) else file.read()
        try:
            return copy.deepcopy(parsed(text))
        except yaml.YAMLError:
            if not isinstance(file, str | Path):
                file.seek(0)
            return honest(file)  # whose error names the file

    OmegaConf.load = staticmethod(load)  # type: ignore[method-assign]
    Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]
    gc.collect()
    gc.freeze()
