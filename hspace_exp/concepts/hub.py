"""Concept files on the Hugging Face hub: a folder's set goes up with its cards, and comes down by ``org/repo/name``."""

from __future__ import annotations

import logging
import re
from pathlib import Path, PurePosixPath

from hspace_exp.errors import getting
from hspace_exp.models.hub import TIMEOUT_S, unreached

log = logging.getLogger(__name__)

PART = r"[\w-][\w.+ -]*"  # of a path, hidden nowhere and leading nowhere else
_NAME = re.compile(rf"({PART}/{PART})/({PART}(?:/{PART})*)(?:@({PART}(?:/{PART})*))?")
_LARGEST = 64 * 2**20  # bytes; a spatial vector of SDXL and its presence take 10 MB, models take more


def local(place: Path | str) -> Path:
    """A concept file's path; one of the hub is fetched, with all concepts and cards that lie beside it there.

    ``org/repo/female`` is the newest file of that name, ``org/repo/female@<commit, tag or branch>`` a certain one; the
    log says its commit. A whole commit that was fetched needs no network again. What is there, ends in .safetensors or
    is no such text is a path. Raises UserError: the hub cannot be reached, or holds no such file.
    """
    named = _NAME.fullmatch(place) if isinstance(place, str) else None
    if named is None or named[2].endswith(".safetensors") or Path(place).exists():
        return Path(place)
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache  # slow, and paths need none of it

    repo, file, revision = named[1], f"{named[2]}.safetensors", named[3]
    if re.fullmatch("[0-9a-f]{40}", revision or ""):
        there = try_to_load_from_cache(repo, file, revision=revision)
        if isinstance(there, str):  # the last that was fetched of its folder
            return Path(there)
    with getting(f"{place} is no file here, and from the Hugging Face hub it", "name either", *unreached()):
        about = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
        small = {one.rfilename for one in about.siblings or () if (one.size or 0) <= _LARGEST}
        if file not in small:
            raise ValueError(f"{repo} has no {file} of at most {_LARGEST >> 20} MiB at {about.sha}")
        log.info("%s: %s of %s at commit %s", place, file, repo, about.sha)
        beside = sorted(name for name in small if PurePosixPath(name).parent == PurePosixPath(file).parent)
        for name in beside:
            if name != file and name.endswith((".safetensors", ".md")):
                hf_hub_download(repo, name, revision=about.sha)
        return Path(hf_hub_download(repo, file, revision=about.sha))


def push(folder: Path, repo: str, private: bool | None) -> str:
    """Upload a folder's concept files and cards; returns the commit. Raises UserError: the hub does not take them."""
    from huggingface_hub import HfApi

    api, kinds = HfApi(), ["*.safetensors", "*.md"]
    advice = "name a repository org/name that is yours, after `hf auth login`"
    with getting(f"access to {repo!r}", advice, *unreached()):
        api.create_repo(repo, private=private, exist_ok=True)
        return api.upload_folder(repo_id=repo, folder_path=folder, allow_patterns=kinds, commit_message="Concepts").oid
