"""The form in which every metric hands over its number. Importing it costs neither torch nor a model."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any

from pydantic import Field


@dataclass(frozen=True)
class MetricValue:
    """One number with its 95 % interval; None where the number is infinite or undefined, and ``note`` says why."""

    value: float | None
    ci_low: Annotated[float | None, Field(description="lower bound over images of the same professions.")]
    ci_high: Annotated[float | None, Field(description="upper bound.")]
    n: Annotated[int, Field(description="images that count.")]
    higher_is_better: Annotated[bool | None, Field(description="None where neither more nor less is better.")]
    note: Annotated[str, Field(description="what a reader of the value must know.")] = ""
    ci_low_professions: Annotated[float | None, Field(description="lower bound over professions, where known.")] = None
    ci_high_professions: Annotated[float | None, Field(description="upper bound.")] = None
    heading: Annotated[str, Field(description="above its column in tables; empty where tables know the metric.")] = ""
    digits: Annotated[int | None, Field(description="after the point in tables; None where tables know.")] = None

    def to_json(self) -> dict[str, Any]:
        """The form of ``record.json``; what is optional only where there is something to say."""
        found = {f: getattr(self, f.name) for f in fields(self)}
        return {f.name: value for f, value in found.items() if value != f.default}
