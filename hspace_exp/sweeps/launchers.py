"""Launchers come from other packages: what to install for one that is missing, and how one ends."""

from __future__ import annotations

import sys

EXTRAS = {"joblib": "sweep", "submitit_local": "sweep", "submitit_slurm": "sweep", "ray": "ray"}


def not_installed(launcher: str) -> str:
    """The message where a launcher of ``EXTRAS`` was asked for and Hydra does not have it."""
    extra = f"-e '.[{EXTRAS[launcher]}]'"
    return (
        f"hydra/launcher={launcher} is not installed: in the checkout, pip install {extra}, or after make install "
        f".bootstrap/bin/uv pip install --python .venv {extra}"
    )


def stopped(error: Exception) -> bool:
    """Whether an error is a launcher's, as when a job's process was killed."""
    return isinstance(error, RuntimeError) or type(error).__module__.split(".")[0] == "ray"


def settle() -> None:
    """Let go of Ray, if it runs the jobs: what they wrote and is still on its way arrives before what comes next."""
    ray = sys.modules.get("ray")
    if ray is not None:
        ray.shutdown()
