"""What every command does before it imports torch: to import this module is enough."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

# Read when torch is imported: threads that wait by spinning make a shared CPU many times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def importing() -> Iterator[None]:
    """While thousands of modules are imported: none of what they make is garbage, and looking for it takes long."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
