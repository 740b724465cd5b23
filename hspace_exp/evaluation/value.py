"""The form in which every metric hands over its number. Importing it costs neither torch nor a model."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class MetricValue:
    """One number with its 95 % interval; None where the number is infinite or undefined, and ``note`` says why."""

    value: float | None
    ci_low: float | None  # lower bound over images of the same professions
    ci_high: float | None  # upper bound
    n: int  # images that count
    higher_is_better: bool | None  # None where neither more nor less is better
    note: str = ""  # what a reader of the value must know
    ci_low_professions: float | None = None  # lower bound over professions, where known
    ci_high_professions: float | None = None  # upper bound
    heading: str = ""  # above the metric's column in tables; "" where tables know the metric by its name
    digits: int | None = None  # after the point in tables; None where tables know

    def to_json(self) -> dict[str, Any]:
        """The form of ``record.json``; what is optional only where there is something to say."""
        found = {f: getattr(self, f.name) for f in fields(self)}
        return {f.name: value for f, value in found.items() if value != f.default}
