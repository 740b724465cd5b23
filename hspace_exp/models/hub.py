"""Pipelines of the Hugging Face hub as folders: what is there already needs no network, the rest is fetched once."""

from __future__ import annotations

import functools
import logging
import re
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from hspace_exp.errors import getting

log = logging.getLogger(__name__)

_TEXTS = ("text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3")
PARTS = ("unet", "transformer", "vae", *_TEXTS, "scheduler")
# Parts of published pipelines that are not used here, and so not fetched.
_UNUSED = {"safety_checker": None, "feature_extractor": None, "image_encoder": None}
TIMEOUT_S, ANSWER_S = 10, 5
# Files of weights: "fp16" of "model.fp16.safetensors" and of its shards, no variant of "model.safetensors".
_WEIGHTS = re.compile(r"[^.]+(?:\.([^.-]+))?[^.]*\.safetensors")


@functools.cache
def answers(url: str) -> bool:
    """Whether a host answers, whatever it says."""
    from huggingface_hub import constants  # half a second, which importing this need not take

    if site(url) == site(host()) and constants.HF_HUB_OFFLINE:
        return False
    try:
        urllib.request.urlopen(urllib.request.Request(site(url), method="HEAD"), timeout=ANSWER_S).close()
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, OSError, ValueError):
        return False
    return True


def host() -> str:
    """The Hugging Face hub in use."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def unreached() -> tuple[type[Exception], ...]:
    """What is raised where the hub does not answer, besides the usual."""
    from huggingface_hub.errors import OfflineModeIsEnabled
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined] # whichever of its versions is in use

    return httpx.HTTPError, OfflineModeIsEnabled


def site(url: str) -> str:
    """The host of an address."""
    return "{0.scheme}://{0.netloc}".format(urlsplit(url))


def snapshot(repo: str, revision: str | None, variant: str | None) -> Path:
    """The folder of a pipeline of the hub; its name is the commit.

    One short request finds out whether the hub answers, so that a machine without a network waits seconds, not minutes.
    ``DiffusionPipeline.download`` chooses the files: safetensors only, the variant's where there are such. Raises
    UserError: it is not here and the hub cannot be reached, or does not hold it.
    """
    there = cached(repo, revision)
    if there is not None:
        return there
    from diffusers import DiffusionPipeline  # seconds, which looking for what is there need not take
    from huggingface_hub import HfApi

    advice = (
        f"where there is a network run `{download_command(repo, revision)}` (for a gated model after `hf auth login`) "
        "and give its folder as model.path=<folder>, or use model=avatars, which needs no download"
    )
    with getting(f"{repo!r} of the Hugging Face hub", advice, *unreached()):
        commit = HfApi().model_info(repo, revision=revision, timeout=TIMEOUT_S).sha
        log.info("fetching %s from the Hugging Face hub", repo)
        return Path(DiffusionPipeline.download(repo, revision=commit, variant=variant, use_safetensors=True, **_UNUSED))


def download_command(repo: str, revision: str | None, folder: str = "<folder>") -> str:
    """The command that puts a pipeline into a folder."""
    return f"hf download {repo}{f' --revision {revision}' if revision else ''} --local-dir {folder}"


def cached(repo: str, revision: str | None) -> Path | None:
    """The folder of a pipeline that was fetched before, if every part of it is there; no network is used."""
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(repo, "model_index.json", revision=revision)
    folder = Path(index).parent if isinstance(index, str) else None
    return folder if folder is not None and is_whole(folder) else None


def is_folder(source: Path | str) -> bool:
    """Whether a model's source means a folder, there or not, and no id of the hub."""
    text = str(source)
    named = isinstance(source, Path) or text.startswith((".", "/", "~")) or text.count("/") != 1
    return named or Path(text).exists()


def is_whole(folder: Path) -> bool:
    """Whether a folder has a pipeline's index and the files of each of its parts."""
    index = folder / "model_index.json"
    text = index.read_text(encoding="utf-8") if index.is_file() else ""
    parts = [part for part in PARTS if re.search(rf'"{part}":\s*\[\s*"', text)]  # not those that are [null, null]
    files = {part: "*" if part.startswith(("tokenizer", "scheduler")) else "*.safetensors" for part in parts}
    return bool(parts) and all(any((folder / part).glob(pattern)) for part, pattern in files.items())


def best_variant(names: Iterable[str], variant: str | None) -> str | None:
    """``variant`` if there are safetensors of it, else the plain ones, else whichever there are."""
    found = {match[1] for name in names if (match := _WEIGHTS.fullmatch(name))}
    if variant in found:
        return variant
    return None if None in found else min(map(str, found), default=None)
