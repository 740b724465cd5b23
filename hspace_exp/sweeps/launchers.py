"""Launchers come from other packages: how one ends."""

from __future__ import annotations

import sys


def stopped(error: Exception) -> bool:
    """Whether an error is a launcher's, as when a job's process was killed."""
    return isinstance(error, RuntimeError) or type(error).__module__.split(".")[0] == "ray"


def settle() -> None:
    """Let go of Ray, if it runs the jobs: what they wrote and is still on its way arrives before what comes next."""
    ray = sys.modules.get("ray")
    if ray is not None:
        ray.shutdown()
