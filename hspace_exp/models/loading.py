"""Read the parts of a diffusers pipeline from a folder, with one-line errors."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from hspace_exp.avatars import EMBEDDED
from hspace_exp.errors import UserError, getting, unknown
from hspace_exp.io.digest import fingerprint
from hspace_exp.models import hub
from hspace_exp.models.families import FAMILIES, texts_of
from hspace_exp.models.prompts import PromptEncoder

# Classes of pipelines → endings of their tokenizers' and text encoders' names.
PIPELINES = {
    "StableDiffusionPipeline": ("",),
    "StableDiffusionXLPipeline": ("", "_2"),
    "PixArtAlphaPipeline": ("",),
    "PixArtSigmaPipeline": ("",),
    "StableDiffusion3Pipeline": ("", "_2", "_3"),
    "SanaPipeline": ("",),
    "FluxPipeline": ("", "_2"),
}
ENDS = ("", "_2", "_3")
VAES = ("AutoencoderKL", "AutoencoderDC")
TEXT_CLASSES = (
    *("CLIPTokenizer", "CLIPTokenizerFast", "CLIPTextModel", "CLIPTextModelWithProjection"),
    *("T5Tokenizer", "T5TokenizerFast", "T5EncoderModel"),
    *("GemmaTokenizer", "GemmaTokenizerFast", "Gemma2Model"),
)
NETWORKS = ("unet", "transformer")
# Of a prompt, where it is no encoder's bound.
MOST_TOKENS = {"PixArtAlphaPipeline": 120, "PixArtSigmaPipeline": 300}
MOST_TOKENS |= {"StableDiffusion3Pipeline": 256, "SanaPipeline": 300, "FluxPipeline": 512}


def find_folder(
    source: Path | str, revision: str | None = None, variant: str | None = None, network: str | None = None
) -> tuple[Path, str, str]:
    """Folder, name and revision of a pipeline: ``source`` itself, or the hub's snapshot of that id, fetched if needed.

    The revision of a folder is a digest of its ``network``, see ``network_of``.

    Raises UserError: there is no such folder, or the hub cannot be reached.
    """
    path = Path(source).expanduser()
    if (path / "model_index.json").is_file():
        return path, path.name, fingerprint(path / network_of(path, network))
    if hub.is_folder(source):
        problem = "holds no model_index.json" if path.is_dir() else "does not exist"
        raise UserError(f"expected a model folder in diffusers layout or a hub id, but {path} {problem}: {_fix(path)}")
    snapshot = hub.snapshot(str(source), revision, variant)
    return snapshot, str(source), snapshot.name


def network_of(folder: Path, chosen: str | None = None) -> str:
    """Which folder of a pipeline holds the network that predicts noise, ``unet`` or ``transformer``.

    The one ``chosen``, where a folder holds both; else the one that its index names, and ``unet`` where it names none.
    Raises UserError: it is another.
    """
    if chosen is not None and chosen not in NETWORKS:
        raise unknown("network of a pipeline", chosen, NETWORKS)
    if chosen is None and (index := folder / "model_index.json").is_file():
        with getting(f"the pipeline in {folder}", _fix(folder)):
            chosen = next((name for name in NETWORKS if name in json.loads(index.read_bytes())), None)
    return chosen or "unet"


def count_parameters(folder: Path, network: str | None = None) -> int:
    """Parameters of the network in ``folder`` that predicts noise, from its config alone."""
    part = network_of(folder, network)
    with getting(f"the pipeline in {folder}", _fix(folder)), torch.device("meta"):
        cls = _class_of(folder, part, FAMILIES)
        built = cls.from_config(cls.load_config(folder, subfolder=part))
    return sum(p.numel() for p in built.parameters())


def load_parts(
    folder: Path, variant: str | None = None, dtype: torch.dtype = torch.float32, network: str | None = None
) -> dict[str, Any]:
    """Load every part of a pipeline on the CPU: what a ``Backbone`` is made of, by name.

    The folder is in diffusers layout; weights are of the variant, such as ``fp16``, where there are such files, else
    the plain ones, and conversely. The VAE is in float32, the other networks are in ``dtype``. Raises UserError:
    weights are missing, damaged or of another kind.
    """
    import diffusers  # seconds, which importing this need not take
    import transformers
    from diffusers.utils import is_accelerate_available

    place, what, advice = str(folder), f"the pipeline in {folder}", _fix(folder)
    with getting(what, advice):
        index = diffusers.DiffusionPipeline.load_config(place)
    # Of text encoders that a pipeline can do without, the index has [null, null].
    names = [[one for one in some if index[one][1]] for some in text_parts(str(index.get("_class_name")))]
    for name in names[0] + names[1]:
        if index[name][1] not in TEXT_CLASSES:
            raise unknown(f"class of {name} in {folder}", index[name][1], TEXT_CLASSES)
    with getting(what, advice, SafetensorError):
        scheduler = getattr(diffusers, index["scheduler"][1]).from_pretrained(place, subfolder="scheduler")
        # diffusers would use accelerate, where it is installed, and else print advice.
        ours = {"low_cpu_mem_usage": is_accelerate_available()}
        part = network_of(folder, network)
        unet = _module(_class_of(folder, part, FAMILIES), folder, part, variant, torch_dtype=dtype, **ours)
        vae = _module(_class_of(folder, "vae", VAES), folder, "vae", variant, torch_dtype=torch.float32, **ours)
        tokenizers = [getattr(transformers, index[name][1]).from_pretrained(place, subfolder=name) for name in names[0]]
        encoders = [
            _module(getattr(transformers, index[name][1]), folder, name, variant, dtype=dtype) for name in names[1]
        ]
    zeros, most = index.get("force_zeros_for_empty_prompt"), MOST_TOKENS.get(index["_class_name"])
    encoder = PromptEncoder(tokenizers, encoders, zeros, most, **texts_of(unet))
    return {"unet": unet, "vae": vae, "prompt_encoder": encoder, "scheduler": scheduler}


def text_parts(pipeline: str) -> tuple[list[str], list[str]]:
    """Names of the tokenizers and of the text encoders of a class of pipelines, in their order.

    Raises UserError: it is a pipeline of another kind.
    """
    if pipeline not in PIPELINES:
        raise unknown("pipeline class", pipeline, PIPELINES)
    endings = PIPELINES[pipeline]
    return [f"tokenizer{ending}" for ending in endings], [f"text_encoder{ending}" for ending in endings]


def _class_of(folder: Path, part: str, known: Collection[str]) -> Any:  # noqa: ANN401 (diffusers' classes)
    """The class of diffusers that a part's config names. Raises UserError: it is none of those that are ``known``."""
    import diffusers  # seconds, which importing this need not take

    name = json.loads((folder / part / "config.json").read_bytes()).get("_class_name")
    if name not in known:
        raise unknown(f"class of {part} in {folder}", name, known)
    return getattr(diffusers, name)


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
