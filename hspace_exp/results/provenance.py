"""Where numbers come from: versions of packages, the commit, the device."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]

# Folders whose files decide what a run does: one that git does not know makes a checkout dirty, too.
CODE = ("hspace_exp", "avatars_world", "conf")

PACKAGES = (
    "hspace-exp", "torch", "torchvision", "diffusers", "transformers", "lightning", "torchmetrics", "open-clip-torch",
    "segment-anything", "hydra-core", "omegaconf", "numpy", "safetensors",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Version of Python and of each package that matters, where it is installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state(root: Path = ROOT) -> dict[str, object] | None:
    """Commit of a checkout, by default this package's, and whether files differ from it; None outside a checkout.

    A checkout is dirty where a known file was changed, or where a folder of ``CODE`` has one that git does not know.
    Where an exported tree runs without its history, the variable ``HSPACE_EXP_COMMIT`` names the commit it is of.
    """
    exported = os.environ.get("HSPACE_EXP_COMMIT")
    if exported:
        return {"commit": exported, "dirty": False}
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
        changed += _git(root, "ls-files", "--others", "--exclude-standard", "--", *CODE)
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": bool(changed)}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def shareable(config: Any) -> Any:
    """``config`` with paths inside this package told from the package's folder on.

    Records are shared; where their maker keeps the package is nobody's business. Digests, which count absolute paths by
    their last name only, stay the same.
    """
    if isinstance(config, Mapping):
        return {name: shareable(value) for name, value in config.items()}
    if isinstance(config, list):
        return [shareable(value) for value in config]
    package = Path(__file__).resolve().parents[1]
    if isinstance(config, str) and Path(config).is_relative_to(package):
        return f"/{Path(config).relative_to(package.parent).as_posix()}"
    return config


def describe_device(device: torch.device) -> str:
    """The device in words, e.g. "NVIDIA H200" or "CPU x86_64, 2 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"CPU {platform.machine()}, {torch.get_num_threads()} threads"
    return device.type
