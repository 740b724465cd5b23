"""What a section found: timings, ratios against their bars, and what is to be said about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

AT_LEAST, AT_MOST = "at least", "at most"


@dataclass(frozen=True)
class Bar:
    """A number that was asked for.

    Attributes:
        name: what was compared.
        value: measured; None where it could not be judged.
        limit: asked for.
        sense: ``at least`` or ``at most``.
        unit: of both.
    """

    name: str
    value: float | None
    limit: float
    sense: str = AT_LEAST
    unit: str = "×"

    @property
    def held(self) -> bool | None:
        """Whether the value is on the right side of the limit; None where nothing was measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.sense == AT_LEAST else self.value <= self.limit


@dataclass
class Findings:
    """Of one section; ``changed`` is called after each addition, so that what was found outlives what comes next."""

    changed: Callable[[], None] = lambda: None
    status: str = "running"
    seconds: float = 0.0
    error: str = ""
    measures: list[dict[str, Any]] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def measure(self, name: str, samples: Sequence[float], unit: str = "s", **more: Any) -> float:
        """Keep repeated readings of one thing; returns their median.

        Args:
            name: what was measured.
            samples: at least one reading.
            unit: of the readings.
            more: plain values to keep beside it, such as ``images`` a call or ``batch``.
        """
        middle = float(median(samples))
        found = {"name": name, "median": middle, "low": min(samples), "high": max(samples), "unit": unit}
        self.measures.append({**found, "repeats": len(samples), **more})
        self.changed()
        return middle

    def bar(self, name: str, value: float, limit: float, sense: str = AT_LEAST, unit: str = "×") -> None:
        """Compare a number with its bar."""
        self.bars.append(Bar(name, float(value), limit, sense, unit))
        self.changed()

    def unmeasured(self, name: str, limit: float, sense: str = AT_LEAST, unit: str = "×") -> None:
        """Keep a bar that could not be judged here; say why with a note."""
        self.bars.append(Bar(name, None, limit, sense, unit))
        self.changed()

    def note(self, text: str) -> None:
        """Say something about the numbers."""
        self.notes.append(text)
        self.changed()

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        bars = [{**asdict(bar), "held": bar.held} for bar in self.bars]
        own = {name: getattr(self, name) for name in ("status", "error", "measures", "notes")}
        return {**own, "seconds": round(self.seconds, 1), "bars": bars}
