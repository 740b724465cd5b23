"""Pipelines of the Hugging Face hub as folders: what is there already needs no network, the rest is fetched once."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import httpx  # type: ignore[attr-defined] # whichever of its versions is in use

from hspace_exp.errors import UserError

log = logging.getLogger(__name__)

PARTS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
_TIMEOUT_S = 10


def snapshot(repo: str, revision: str | None, variant: str | None) -> Path:
    """The folder of a pipeline of the hub; its name is the commit.

    One short request finds out whether the hub answers, so that a machine without a network waits seconds, not minutes.

    Raises:
        UserError: it is not here and the hub cannot be reached, or does not hold it.
    """
    there = cached(repo, revision)
    if there is not None:
        return there
    try:
        info = huggingface_hub.HfApi().model_info(repo, revision=revision, timeout=_TIMEOUT_S)
        files = wanted([sibling.rfilename for sibling in info.siblings or []], variant)
        log.info("fetching %s from the Hugging Face hub", repo)
        return Path(huggingface_hub.snapshot_download(repo, revision=info.sha, allow_patterns=files))
    except (OSError, httpx.HTTPError, OfflineModeIsEnabled, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(
            f"cannot get {repo!r} from the Hugging Face hub ({reason}): where there is a network run "
            f"`{download_command(repo, revision)}` (for a gated model after `hf auth login`) and give its folder as "
            "model.path=<folder>, or use model=avatars, which needs no download"
        ) from error


def download_command(repo: str, revision: str | None, folder: str = "<folder>") -> str:
    """The command that puts a pipeline into a folder."""
    return f"hf download {repo}{f' --revision {revision}' if revision else ''} --local-dir {folder}"


def cached(repo: str, revision: str | None) -> Path | None:
    """The folder of a pipeline that was fetched before, if every part of it is there; no network is used."""
    try:
        folder = Path(huggingface_hub.snapshot_download(repo, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError, OSError):
        return None
    return folder if is_whole(folder) else None


def is_whole(folder: Path) -> bool:
    """Whether a folder has a pipeline's index and the files of each of its parts."""
    if not (folder / "model_index.json").is_file():
        return False
    text = (folder / "model_index.json").read_text(encoding="utf-8")
    parts = [part for part in PARTS if f'"{part}"' in text]
    networks = [part for part in parts if not part.startswith(("tokenizer", "scheduler"))]
    return all((folder / part).is_dir() for part in parts) and all(
        any((folder / part).glob("*.safetensors")) for part in networks
    )


def wanted(files: Iterable[str], variant: str | None) -> list[str]:
    """Of a repository's files those that a pipeline is loaded from: of the weights one set, the variant if it is there.

    Args:
        files: paths in the repository.
        variant: such as ``fp16``.
    """
    chosen = []
    by_part: dict[str, list[str]] = {part: [] for part in PARTS}
    for file in files:
        part, _, name = file.partition("/")
        if file == "model_index.json":
            chosen.append(file)
        elif part in by_part and "/" not in name:
            by_part[part].append(name)
    for part, names in by_part.items():
        best = best_variant(names, variant)
        for name in names:
            weights = ".safetensors" in name
            if (weights and _variant(name) == best) or (not weights and name.endswith((".json", ".txt"))):
                chosen.append(f"{part}/{name}")
    return chosen


def best_variant(names: Iterable[str], variant: str | None) -> str | None:
    """``variant`` if there are safetensors of it, else the plain ones, else whichever there are."""
    found = {_variant(name) for name in names if ".safetensors" in name}
    if variant in found or not found:
        return variant if variant in found else None
    return None if None in found else sorted(str(v) for v in found)[0]


def _variant(name: str) -> str | None:
    """``fp16`` of "model.fp16.safetensors", of its shards and of their index; None of "model.safetensors"."""
    head, _, tail = name.partition(".safetensors")
    words = [*head.split(".")[1:], *(word for word in tail.split(".") if word not in ("", "index", "json"))]
    return words[0].split("-")[0] if words else None
