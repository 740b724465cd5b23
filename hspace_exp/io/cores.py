"""How many CPU cores there are to share."""

from __future__ import annotations

import os


def cores() -> int:
    """Cores that this process may use, which a scheduler or a container may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
