"""A ComfyUI node that adds a concept vector of hspace_exp to h, the output of the U-Net's middle block.

Copy this file into ComfyUI/custom_nodes and concept files into ComfyUI/models/hspace_concepts. It needs nothing beside
ComfyUI. What it does is plain addition, h + strength * v, as ``steer(…, method="plain")``; the gate and the unedited
run that ``focused`` works with are not in it. Stable Diffusion 1.x, 2.x and XL.
"""

from __future__ import annotations

import json
import os
from typing import Any

import folder_paths
import torch
from safetensors import safe_open

FOLDER = "hspace_concepts"
BRANCHES = ("as the file says", "both", "conditional")
CONDITIONAL = 0  # how ComfyUI marks the rows of a positive prompt in ``cond_or_uncond``

folder_paths.folder_names_and_paths[FOLDER] = ([os.path.join(folder_paths.models_dir, FOLDER)], {".safetensors"})


def read(path: str) -> tuple[torch.Tensor, dict[str, Any]]:
    """The vector of a concept file, (C, 1, 1) or (C, H, W) float32, and its settings."""
    with safe_open(path, framework="pt", device="cpu") as file:
        about = file.metadata() or {}
        if about.get("format") != "hspace_exp.concept" or "vector" not in file.keys():  # noqa: SIM118 (no mapping)
            raise ValueError(f"{path} is no concept file of hspace_exp")
        vector, settings = file.get_tensor("vector").float(), json.loads(about.get("hyperparameters", "{}"))
        if vector.ndim != 3 or not vector.abs().max() < 1e6 or not isinstance(settings, dict):
            raise ValueError(f"{path} is damaged: expected a finite vector (C, H, W) and settings by name")
        return vector, settings


def added(h: torch.Tensor, vector: torch.Tensor, amounts: list[float]) -> torch.Tensor:
    """H (B, C, H, W) with an amount of the vector in each of ``len(amounts)`` equal parts of the batch."""
    channels, height, width = vector.shape
    if channels != h.shape[1] or (height, width) not in ((1, 1), tuple(h.shape[2:])):
        raise ValueError(
            f"the concept is {tuple(vector.shape)}, h is {tuple(h.shape[1:])}: another model or image size"
        )
    scale = torch.tensor(amounts, device=h.device).repeat_interleave(len(h) // len(amounts))
    return (h.float() + scale[:, None, None, None] * vector.to(h.device)).to(h.dtype)


class HSpaceConcept:
    """Patches a model; several nodes in a row add up."""

    CATEGORY = "model_patches/unet"
    DESCRIPTION = "Adds a concept vector of hspace_exp to the U-Net's middle block."
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "apply"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The node's inputs."""
        share = {"min": 0.0, "max": 1.0, "step": 0.01}
        return {
            "required": {
                "model": ("MODEL",),
                "concept": (folder_paths.get_filename_list(FOLDER),),
                "strength": ("FLOAT", {"default": 2.0, "min": -20.0, "max": 20.0, "step": 0.05}),
                "branch": (list(BRANCHES), {"tooltip": "conditional: positive prompts only, which CFG multiplies"}),
                "start": ("FLOAT", {"default": 0.0, "tooltip": "share of the schedule at which it begins", **share}),
                "stop": ("FLOAT", {"default": 1.0, "tooltip": "share of the schedule at which it ends", **share}),
            }
        }

    def apply(self, model: Any, concept: str, strength: float, branch: str, start: float, stop: float) -> tuple[Any]:
        """The model with the concept; ``start`` and ``stop`` count as ComfyUI's own percents do."""
        vector, settings = read(folder_paths.get_full_path_or_raise(FOLDER, concept))
        branch = settings.get("branch", "both") if branch == BRANCHES[0] else branch
        if branch not in BRANCHES[1:]:
            raise ValueError(f"the file's branch is {branch!r}: choose both or conditional")
        if getattr(model.model.diffusion_model, "middle_block", None) is None:
            raise ValueError("this model has no U-Net: concepts are for Stable Diffusion 1.x, 2.x and XL")
        if not hasattr(model, "set_model_middle_block_after_patch"):
            raise ValueError("this ComfyUI does not let nodes edit the middle block: update it")
        if not start < stop:
            raise ValueError(f"the window from {start} to {stop} holds no step: start before it stops")
        sampling = model.get_model_object("model_sampling")
        first, last = sampling.percent_to_sigma(start), sampling.percent_to_sigma(stop)

        def patch(given: dict[str, Any]) -> dict[str, Any]:
            options = given["transformer_options"]
            if not last < options["sigmas"].max().item() <= first:
                return given
            acts = [branch == "both" or kind == CONDITIONAL for kind in options["cond_or_uncond"]]
            return {**given, "h": added(given["h"], vector, [strength * one for one in acts])}

        patched = model.clone()
        patched.set_model_middle_block_after_patch(patch)
        return (patched,)


NODE_CLASS_MAPPINGS = {"HSpaceConcept": HSpaceConcept}
NODE_DISPLAY_NAME_MAPPINGS = {"HSpaceConcept": "h-space concept"}
