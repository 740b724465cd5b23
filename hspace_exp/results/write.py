"""What a run leaves when it is done, and how to tell that it is."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hspace_exp.errors import UserError
from hspace_exp.evaluation.evaluate import Evaluation
from hspace_exp.generation.grid import pair_grid, strip
from hspace_exp.generation.manifest import Pair, read_manifest
from hspace_exp.io.atomic import save_png, write_text
from hspace_exp.io.digest import config_digest, essential
from hspace_exp.io.images import missing
from hspace_exp.results.provenance import git_state, shareable, versions
from hspace_exp.results.record import FILE_NAME, RunRecord, read_record
from hspace_exp.results.tables.build import build
from hspace_exp.results.tables.formats import render

log = logging.getLogger(__name__)

RESULTS = (FILE_NAME, "manifest.csv", "grid.png", "strip.png", "table.md")


def finished(run_dir: Path, config: Mapping[str, Any]) -> RunRecord | None:
    """The record of this very configuration; results of another one are removed, and that is said."""
    if not (run_dir / FILE_NAME).exists():
        return None
    try:
        record = read_record(run_dir)
    except UserError as error:
        log.warning("%s; it is made again", error)
    else:
        if config_digest(record.config) != config_digest(config):
            log.warning("%s holds the results of another configuration: they are replaced", run_dir)
        elif lacking := _lacking(record.config, config):
            log.info("%s is evaluated again, with %s", run_dir, ", ".join(sorted(lacking)))
        elif all((run_dir / name).exists() for name in RESULTS):
            pairs = read_manifest(run_dir / "manifest.csv")
            if not missing(dict.fromkeys(path for pair in pairs for path in (pair.original, pair.edited))):
                return record
    for name in RESULTS:
        (run_dir / name).unlink(missing_ok=True)
    return None


def _lacking(held: Mapping[str, Any], asked: Mapping[str, Any]) -> set[str]:
    """Metrics that are asked for otherwise than in a record's configuration; that of version 0.1 names none."""
    there, wanted = ((one.get("evaluator") or {}).get("metrics") for one in (held, asked))
    if there is None or wanted is None:
        return set()
    return {name for name, node in wanted.items() if name not in there or essential(there[name]) != essential(node)}


def record_of(
    config: Mapping[str, Any],
    found: Evaluation,
    seconds: Mapping[str, float],
    device: str,
    overrides: Sequence[str],
) -> RunRecord:
    """The record of an evaluation, and where its numbers come from."""
    return RunRecord(
        experiment=config["name"],
        method=config["method"]["name"],
        model=config["model"]["name"],
        attribute=config["attribute"]["name"],
        seed=config["seed"],
        metrics=found.metrics,
        per_profession=found.per_profession,
        config=shareable(config),
        versions=versions(),
        git=git_state(),
        device=device,
        seconds={name: round(value, 2) for name, value in seconds.items()},
        command=shlex.join(["python", "-m", "hspace_exp", *overrides]),
        details=found.details,
    )


def write_results(record: RunRecord, pairs: Sequence[Pair], run_dir: Path) -> str:
    """Leave the pictures, the record, and, made from the record alone, the table."""
    save_png(run_dir / "grid.png", pair_grid(pairs))
    save_png(run_dir / "strip.png", strip({record.method: pairs}))
    record.write(run_dir)
    table = render(build([run_dir]), "markdown")
    write_text(run_dir / "table.md", table)
    return table
