"""What a helper process does: one order after another, until there are no more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError, unknown
from hspace_exp.evaluation.split import Split
from hspace_exp.io.claims import Claims
from hspace_exp.methods.base import Training
from hspace_exp.pipeline.job import Job
from hspace_exp.pipeline.seat import Seat
from hspace_exp.pipeline.stages import make_images, make_maps, make_positives, make_runs, make_task, trained
from hspace_exp.training.data_parallel import Follower
from hspace_exp.training.loop import take_part

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assistant:
    """A helper at its seat.

    Attributes:
        job: the run, as its main process has it, on this process's device.
        seat: of this process.
        evaluate: looks at a part of the images.
    """

    job: Job
    seat: Seat
    evaluate: Callable[[Split], object]

    def work(self, orders: Iterable[str]) -> None:
        """Carry out orders: lines of a number, a stage and its details."""
        self.seat.mark(0, "ready")
        for line in orders:
            number, what, *details = line.split()
            log.info("helper %d: %s", self.seat.index, what)
            known: Mapping[str, Callable[..., None]] = {
                "training": self._train,
                "generation": self._generate,
                "evaluation": self._evaluate,
            }
            if what not in known:
                raise unknown("order", what, known)
            known[what](int(number), *details)
            self.seat.mark(int(number))
            log.info("helper %d: done with %s", self.seat.index, what)

    def _train(self, number: int, made_by: str, count: str, *place: str) -> None:
        """Take part in the training of the vectors of this digest; what that needs is in the cache."""
        job = next((team for team in self.job.teams if team.vectors_made_by == made_by), None)
        if job is None or not isinstance(job.method.training, Training):
            raise UserError(f"expected to train vectors {made_by}, but this configuration has others: start it again")
        if self.seat.index >= int(count):
            self.seat.mark(number, "ready")
            return
        positives = make_positives(job)
        maps = make_maps(replace(job, run_dir=self.seat.folder / str(self.seat.index)), positives, {})
        partners = Follower(self.seat, number, int(count), " ".join(place), job.backbone.device)
        take_part(make_task(job, positives, maps, make_runs(job), partners), job.method.training)

    def _generate(self, number: int) -> None:
        """Make images of chunks that nobody else takes."""
        concepts: dict[str, Concept] | None = {} if self.job.method.edits else None
        for team in self.job.teams if self.job.method.training is not None else ():
            found = trained(team)
            if found is None or concepts is None:
                raise UserError(f"{self.job.concepts_dir} lacks this configuration's vectors: train them first")
            concepts |= found
        make_images(self.job, concepts)

    def _evaluate(self, number: int) -> None:
        """Look at batches that nobody else takes."""
        self.evaluate(Split(Claims(self.seat.folder / "evaluation"), self.seat.index))
