"""What every section is given: the device, the clock, and where its findings go."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.findings import Findings

GIB = 2**30


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise ``TimeoutError`` when what is inside takes longer, compilers included; in the main thread."""

    def late(number: int, frame: object) -> None:
        raise TimeoutError(f"no time was left after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, max(1.0, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Bench:
    """One section's surroundings.

    Attributes:
        device: what is measured.
        tiny: rehearse at toy size: every line runs, no number means anything.
        deadline: of the whole command, by ``time.monotonic``.
        found: where findings go.
        sections: what sections of this command found, by name.
    """

    device: torch.device
    tiny: bool = False
    deadline: float = float("inf")
    found: Findings = field(default_factory=Findings)
    sections: Mapping[str, Findings] = field(default_factory=dict)

    def earlier(self, section: str, name: str) -> float | None:
        """The median that another section of this command has measured under ``name``, where it has."""
        measures = self.sections[section].measures if section in self.sections else []
        return next((m["median"] for m in measures if m["name"] == name), None)

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.deadline - time.monotonic()

    def of_size(self, real: Any, tiny: Any) -> Any:
        """The value for a measurement, or for a rehearsal."""
        return tiny if self.tiny else real

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def free(self) -> None:
        """Give memory back, so that sections do not see each other's."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @contextmanager
    def peak_memory(self, more: dict[str, Any]) -> Iterator[None]:
        """Put the highest memory of what is done inside, in GiB, into ``more["peak_gib"]`` (CUDA only)."""
        if self.device.type != "cuda":
            yield
            return
        self.synchronize()
        torch.cuda.reset_peak_memory_stats(self.device)
        yield
        self.synchronize()
        more["peak_gib"] = round(torch.cuda.max_memory_allocated(self.device) / GIB, 2)

    def time(
        self,
        name: str,
        call: Callable[[], object],
        *,
        calls: int = 3,
        repeats: int = 5,
        warmup: Callable[[], object] | None = None,
        **more: Any,
    ) -> float:
        """Median seconds of a call, kept under ``name``.

        Args:
            name: what is timed.
            call: the device is waited for around each group of calls.
            calls: in a group.
            repeats: groups.
            warmup: run once before it counts; ``call`` itself is run once or twice where there is none.
            more: kept beside the reading.
        """
        calls, repeats = self.of_size((calls, repeats), (1, 2))
        with self.peak_memory(more):
            samples = self.samples(call, calls, repeats, warmup)
        return self.found.measure(name, samples, **more)

    def samples(
        self, call: Callable[[], object], calls: int, repeats: int, warmup: Callable[[], object] | None = None
    ) -> list[float]:
        """Seconds a call of each group of calls."""
        for _ in range(2 if calls > 1 and warmup is None else 1):
            (warmup or call)()
        found = []
        for _ in range(repeats):
            self.synchronize()
            started = time.perf_counter()
            for _ in range(calls):
                call()
            self.synchronize()
            found.append((time.perf_counter() - started) / calls)
        return found
