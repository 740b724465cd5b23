"""Several concepts in one batch against one after another, on the embedded model."""

from __future__ import annotations

from benchmarks import ours
from benchmarks.bench import Bench
from hspace_exp.avatars import EMBEDDED
from hspace_exp.models.backbone import load_backbone

CONCEPTS, BATCH, LIMIT = 8, 8, 3.0


def measure(bench: Bench) -> None:
    """Images a second of K concepts at once and of one."""
    backbone = load_backbone(EMBEDDED, device=str(bench.device))
    concepts, batch = bench.of_size((CONCEPTS, BATCH), (2, 2))
    for make in (ours.sdid, ours.score_matching):
        seconds = {
            count: ours.time_training(
                bench,
                f"{make.__name__}, {count} at once",
                backbone,
                make(batch),
                ours.noised(backbone, batch, count),
                ours.named(count),
                calls=10,
                repeats=7,
                concepts=count,
            )
            for count in (1, concepts)
        }
        ratio = concepts * seconds[1] / seconds[concepts]
        bench.found.bar(
            f"{concepts} concepts at once against one after another, {make.__name__}, {batch} rows each", ratio, LIMIT
        )
