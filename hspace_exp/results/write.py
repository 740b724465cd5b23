"""What a run leaves when it is done, and how to tell that it is."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hspace_exp.errors import UserError
from hspace_exp.evaluation.judged_csv import FILE_NAME as JUDGED
from hspace_exp.generation.grid import pair_grid, strip
from hspace_exp.generation.manifest import Pair
from hspace_exp.io.atomic import save_png, write_text
from hspace_exp.io.checksums import FILE as CHECKSUMS
from hspace_exp.io.checksums import clear, is_whole, note
from hspace_exp.io.digest import config_digest
from hspace_exp.results.record import FILE_NAME, RunRecord, git_state, lacking, read_record, shareable, versions
from hspace_exp.results.tables.build import build
from hspace_exp.results.tables.formats import render

if TYPE_CHECKING:
    from hspace_exp.evaluation.evaluate import Evaluation

log = logging.getLogger(__name__)

RESULTS = (FILE_NAME, "manifest.csv", JUDGED, "grid.png", "strip.png", "table.md")
# What else a run promises, beside its images.
KEPT = ("calibration.json", "calibration.png", "calibration.pdf", "masks*.png", "concepts/*.safetensors")


def finished(run_dir: Path, config: Mapping[str, Any]) -> RunRecord | None:
    """The record of this very configuration, where all that was left with it is as it was left.

    What is damaged is removed, and that is said: the run makes again what it lacks. See ``start_again``.
    """
    for path in (path for what in (*RESULTS, *KEPT, CHECKSUMS) for path in run_dir.glob(what)):
        clear(path)
    whole = (run_dir / CHECKSUMS).is_file() and is_whole(run_dir)
    if (run_dir / FILE_NAME).exists():
        try:
            record = read_record(run_dir)
        except UserError as error:
            log.warning("%s; it is made again", error)
        else:
            if config_digest(record.config) != config_digest(config):
                log.warning("%s holds the results of another configuration: they are replaced", run_dir)
            elif more := lacking(record.config, config):
                log.info("%s is evaluated again, with %s", run_dir, ", ".join(sorted(more)))
            elif whole:
                return record
    return None


def start_again(run_dir: Path) -> None:
    """Remove results that are not ``finished``, once nothing is in the way of making them again."""
    for name in (*(RESULTS if (run_dir / FILE_NAME).exists() else ()), CHECKSUMS):
        (run_dir / name).unlink(missing_ok=True)


def record_of(
    config: Mapping[str, Any],
    found: Evaluation,
    seconds: Mapping[str, float],
    device: str,
    words: Sequence[str],
    **names: Any,
) -> RunRecord:
    """The record of an evaluation, and where its numbers come from.

    ``words`` are those after ``python -m hspace_exp`` on the command line, ``seconds`` the wall time by stage, and
    ``names`` the record's ``experiment``, ``method``, ``model`` and ``attribute``.
    """
    return RunRecord(
        **names,
        seed=config["seed"],
        metrics=found.metrics,
        per_profession=found.per_profession,
        config=shareable(config),
        versions=versions(),
        git=git_state(),
        device=device,
        seconds={name: round(value, 2) for name, value in seconds.items()},
        command=shlex.join(["python", "-m", "hspace_exp", *words]),
        details=found.details,
    )


def write_results(record: RunRecord, pairs: Sequence[Pair], run_dir: Path) -> str:
    """Leave the pictures, the record, and, made from the record alone, the table; checksums of all come last."""
    (run_dir / CHECKSUMS).unlink(missing_ok=True)  # those of an earlier record
    save_png(run_dir / "grid.png", pair_grid(pairs))
    save_png(run_dir / "strip.png", strip({record.method: pairs}))
    record.write(run_dir)
    table = render(build([run_dir]), "markdown")
    write_text(run_dir / "table.md", table)
    own = [path for what in (*RESULTS, *KEPT) for path in run_dir.glob(what)]
    images = dict.fromkeys(path for pair in pairs for path in (pair.original, pair.edited))
    note(run_dir, *own, *(path for path in images if path.is_relative_to(run_dir)))
    return table
