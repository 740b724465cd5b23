"""An evaluation in several processes: each looks at the batches that it takes, one of them gathers what was found.

What a process hands over are its metrics' rows, which are keyed by image: whoever found them, results are the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hspace_exp.evaluation.items import Row
from hspace_exp.evaluation.measure import Measure
from hspace_exp.generation.manifest import Pair
from hspace_exp.io.atomic import save_safetensors
from hspace_exp.io.claims import Claims
from hspace_exp.io.progress import track

log = logging.getLogger(__name__)

Look = Callable[[Sequence[Pair]], list[Row]]


@dataclass(frozen=True)
class Split:
    """This process's part.

    Attributes:
        claims: who takes which batch.
        index: number of this process.
        wait: waits for the others; None in those that only help.
    """

    claims: Claims
    index: int = 0
    wait: Callable[[], object] | None = None

    @property
    def found(self) -> Path:
        """Where a helper leaves what it found."""
        return self.claims.folder / f"{self.index}.safetensors"


def look_at_all(
    batches: Sequence[Sequence[Pair]], look: Look, measures: Mapping[str, Measure], split: Split | None
) -> list[Row] | None:
    """Show all batches to the measures.

    Args:
        batches: of pairs.
        look: shows one batch to the measures, and returns its rows of ``judged.csv``.
        measures: by name.
        split: this process's part, where there are several.

    Returns:
        one row a pair, in their order; None in a process that only helps, which has left what it found.
    """
    rows: dict[int, list[Row]] = {}
    for number, batch in enumerate(track(batches, description="evaluate images")):
        if split is None or split.claims.takes(number):
            rows[number] = look(batch)
    if split is not None:
        if split.wait is None:
            _leave(split.found, rows, measures)
            return None
        split.wait()
        for file in sorted(split.claims.folder.glob("*.safetensors")):
            rows |= _gather(file, measures)
        for number, batch in enumerate(batches):
            if number not in rows:  # the process that took it has failed
                rows[number] = look(batch)
    return [row for number in range(len(batches)) for row in rows[number]]


def _leave(file: Path, rows: Mapping[int, list[Row]], measures: Mapping[str, Measure]) -> None:
    tensors = {}
    for name, measure in measures.items():
        for state, parts in measure.metric.metric_state.items():
            if isinstance(parts, list) and parts:
                tensors[f"{name}/{state}"] = torch.cat(parts)
    save_safetensors(file, tensors, {"rows": json.dumps(rows)})


def _gather(file: Path, measures: Mapping[str, Measure]) -> dict[int, list[Row]]:
    """The rows of a helper; its metrics' states are added to ours. Nothing of a damaged file is taken."""
    found: dict[str, Tensor] = {}
    try:
        with safe_open(file, "pt") as opened:
            rows = json.loads(opened.metadata()["rows"])
            for key in opened.keys():  # noqa: SIM118 (it is no mapping)
                found[key] = opened.get_tensor(key)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        log.warning("%s is damaged (%s): its share is made again", file, error)
        return {}
    for key, tensor in found.items():
        name, state = key.rsplit("/", 1)
        metric = measures[name].metric
        getattr(metric, state).append(tensor.to(metric.device))
    return {int(number): some for number, some in rows.items()}
