"""How long the stages of a run take."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


class Seconds(dict[str, float]):
    """Stage → seconds, for the record."""

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Add what the context takes, and say in the log that the stage begins."""
        log.info("%s …", stage)
        started = time.monotonic()
        yield
        self[stage] = self.get(stage, 0.0) + time.monotonic() - started
