"""Read the parts of a diffusers pipeline from a folder, with one-line errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from hspace_exp.avatars import EMBEDDED
from hspace_exp.errors import UserError, getting, unknown
from hspace_exp.io.digest import fingerprint
from hspace_exp.models import hub
from hspace_exp.models.prompts import PromptEncoder

# Classes of pipelines → endings of their tokenizers' and text encoders' names.
PIPELINES = {"StableDiffusionPipeline": ("",), "StableDiffusionXLPipeline": ("", "_2")}


def find_folder(source: Path | str, revision: str | None = None, variant: str | None = None) -> tuple[Path, str, str]:
    """Folder, name and revision of a pipeline: ``source`` itself, or the hub's snapshot of that id, fetched if needed.

    Raises UserError: there is no such folder, or the hub cannot be reached.
    """
    path = Path(source).expanduser()
    if (path / "model_index.json").is_file():
        return path, path.name, fingerprint(path / "unet")
    if hub.is_folder(source):
        problem = "holds no model_index.json" if path.is_dir() else "does not exist"
        raise UserError(f"expected a model folder in diffusers layout or a hub id, but {path} {problem}: {_fix(path)}")
    snapshot = hub.snapshot(str(source), revision, variant)
    return snapshot, str(source), snapshot.name


def count_parameters(folder: Path) -> int:
    """Parameters of the U-Net in ``folder``, from its config alone."""
    import diffusers  # seconds, which importing this need not take

    with getting(f"the pipeline in {folder}", _fix(folder)), torch.device("meta"):
        config = diffusers.UNet2DConditionModel.load_config(folder, subfolder="unet")
        unet: Any = diffusers.UNet2DConditionModel.from_config(config)
    return sum(p.numel() for p in unet.parameters())


def load_parts(folder: Path, variant: str | None = None, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Load every part of a pipeline on the CPU: what a ``Backbone`` is made of, by name.

    The folder is in diffusers layout; weights are of the variant, such as ``fp16``, where there are such files, else
    the plain ones, and conversely. The VAE is in float32, U-Net and text encoders are in ``dtype``. Raises UserError:
    weights are missing, damaged or of another kind.
    """
    import diffusers  # seconds, which importing this need not take
    import transformers
    from diffusers.utils import is_accelerate_available

    place, what, advice = str(folder), f"the pipeline in {folder}", _fix(folder)
    with getting(what, advice):
        index = diffusers.DiffusionPipeline.load_config(place)
    names = text_parts(str(index.get("_class_name")))
    with getting(what, advice, SafetensorError):
        scheduler = getattr(diffusers, index["scheduler"][1]).from_pretrained(place, subfolder="scheduler")
        # diffusers would use accelerate, where it is installed, and else print advice.
        ours = {"low_cpu_mem_usage": is_accelerate_available()}
        unet = _module(diffusers.UNet2DConditionModel, folder, "unet", variant, torch_dtype=dtype, **ours)
        vae = _module(diffusers.AutoencoderKL, folder, "vae", variant, torch_dtype=torch.float32, **ours)
        tokenizers = [transformers.CLIPTokenizer.from_pretrained(place, subfolder=name) for name in names[0]]
        encoders = [
            _module(getattr(transformers, index[name][1]), folder, name, variant, dtype=dtype) for name in names[1]
        ]
    encoder = PromptEncoder(tokenizers, encoders, index.get("force_zeros_for_empty_prompt"))
    return {"unet": unet, "vae": vae, "prompt_encoder": encoder, "scheduler": scheduler}


def text_parts(pipeline: str) -> tuple[list[str], list[str]]:
    """Names of the tokenizers and of the text encoders of a class of pipelines, in their order.

    Raises UserError: it is a pipeline of another kind.
    """
    if pipeline not in PIPELINES:
        raise unknown("pipeline class", pipeline, PIPELINES)
    endings = PIPELINES[pipeline]
    return [f"tokenizer{ending}" for ending in endings], [f"text_encoder{ending}" for ending in endings]


def _module(cls: Any, folder: Path, part: str, variant: str | None, **options: Any) -> Any:  # noqa: ANN401 (two libraries' classes)
    """Load one network; weights that the file lacks would otherwise stay random."""
    files = [file.name for file in (folder / part).glob("*.safetensors*")]
    found = hub.best_variant(files, variant)
    module, info = cls.from_pretrained(
        str(folder), subfolder=part, output_loading_info=True, use_safetensors=True, variant=found, **options
    )
    missing = sorted(info["missing_keys"])
    if missing:
        raise ValueError(f"{part} lacks {len(missing)} weights, {missing[0]} first")
    return module


def _fix(folder: Path) -> str:
    if folder.resolve() == EMBEDDED:
        return "restore it with git, or retrain it with python -m avatars_world.train"
    return "check the path, or download the model there with `hf download <id> --local-dir <folder>`"
