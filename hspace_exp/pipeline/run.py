"""One run: its stages in order, each resumable, and one record at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from hspace_exp.concepts.concept import Concept
from hspace_exp.config.checks import check, plain_config
from hspace_exp.config.schema import AUTO
from hspace_exp.doctor.needs import is_judged, needs_of, require
from hspace_exp.errors import UserError
from hspace_exp.evaluation.judged_csv import write_judged
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.generation.manifest import read_manifest
from hspace_exp.io.atomic import remove_parts
from hspace_exp.io.checksums import kept_json
from hspace_exp.io.digest import Recipe
from hspace_exp.io.progress import Seconds, quieten
from hspace_exp.models.devices import resolve_device
from hspace_exp.pipeline.calibration import calibrate, recalled
from hspace_exp.pipeline.learning import trained, vectors_of
from hspace_exp.pipeline.parts import Parts, make_parts, make_settings
from hspace_exp.pipeline.workers import Worker, make_images
from hspace_exp.prompts.attributes import judged_by
from hspace_exp.results.loggers import close, log_results
from hspace_exp.results.record import RunRecord, describe_device, shareable
from hspace_exp.results.write import finished, record_of, start_again, write_results

if TYPE_CHECKING:
    from hspace_exp.evaluation.evaluate import Evaluation
    from hspace_exp.evaluation.evaluators import Evaluator

log = logging.getLogger(__name__)


def run(cfg: DictConfig, run_dir: Path, overrides: Sequence[str] = ()) -> RunRecord | None:
    """Run the stages of a configuration composed from conf/.

    What is in the run's folder already is used again; ``overrides`` are those of the command line, for the record.
    Gives the record, or None where the stage ``evaluation`` is not asked for, or this process only helps. Raises
    UserError: the configuration or a file is wrong; nothing half-written is left.
    """
    config = checked(cfg)
    devices = config["trainer"].get("devices", 1)
    worker = Worker.here(run_dir, devices)
    done = finished(run_dir, config) if worker.rank == 0 else None
    if done is not None:
        log.info("%s is done already: nothing to do", run_dir)
        return done
    require(needs_of(config))
    quieten()
    cfg, device = cfg.copy(), worker.device(resolve_device(config["device"]), devices)
    cfg.device = str(device)
    Path(config["paths"]["cache"]).mkdir(parents=True, exist_ok=True)
    if worker.rank:
        _help(make_parts(cfg, config), Path(config["paths"]["cache"]), worker)
        return None
    with worker.leading(overrides, device):
        return _lead(cfg, config, worker, overrides)


def checked(cfg: DictConfig) -> dict[str, Any]:
    """The ``plain_config``, once all was found right that can be told without a model; nothing is made. See ``run``."""
    config = plain_config(cfg)
    check(config)
    resolve_device(config["device"])
    make_settings(cfg, config)
    return config


def _help(parts: Parts, cache: Path, worker: Worker) -> None:
    """Make a share of the images, as another rank than 0."""
    while worker.wait_until_ready():
        concepts = _joined([trained(learning, cache, worker.run_dir) for learning in parts.learnings])
        if concepts is not None:
            make_images(recalled(parts, worker.run_dir), concepts, cache, worker)
            log.info("worker %d of %d: no images are left to make", worker.rank, worker.count)
            return
        time.sleep(1)  # what it waited for was left by an earlier run


def _lead(cfg: DictConfig, config: Mapping[str, Any], worker: Worker, overrides: Sequence[str]) -> RunRecord | None:
    """All stages, as rank 0."""
    run_dir, stages, cache, seconds = worker.run_dir, config["stages"], Path(config["paths"]["cache"]), Seconds()
    remove_parts(run_dir)
    start_again(run_dir)
    with seconds.of("loading"):
        evaluator: Any = instantiate(cfg.evaluator) if is_judged(config) else None
        parts = make_parts(cfg, config)
    loggers = instantiate(cfg.logger)(run_dir, "/".join(run_dir.parts[-4:]), shareable(config))
    try:
        make_trainer = partial(parts.make_trainer, logger=loggers or False)
        concepts = _joined([vectors_of(one, stages, cache, run_dir, make_trainer, seconds) for one in parts.learnings])
        if "calibration" in stages and concepts is not None and parts.method.strength == AUTO:
            with seconds.of("calibration"):
                parts = calibrate(parts, concepts, evaluator, config, cache, run_dir)
        if "generation" in stages:
            if concepts is None:
                raise UserError(f"{run_dir}/concepts lacks this configuration's vectors: run the stage training first")
            with seconds.of("generation"):
                make_images(parts, concepts, cache, worker)
        if evaluator is None or "evaluation" not in stages:
            log.info("done with %s: %s", ", ".join(stages), run_dir)
            return None
        with seconds.of("evaluation"):
            evaluation = _evaluated(evaluator, parts, run_dir, cache, config["seed"])
        evaluation.details.update(parts.calibration)
        names = {name: config[name]["name"] for name in ("method", "model", "attribute")}
        device = describe_device(parts.backbone.device)
        record = record_of(config, evaluation, seconds, device, overrides, experiment=config["name"], **names)
        write_judged(run_dir, evaluation.rows)
        table = write_results(record, read_manifest(run_dir / "manifest.csv"), run_dir)
        log_results(loggers, {name: m.value for name, m in record.metrics.items()}, run_dir)
    finally:
        close(loggers)
    log.info("%s\n%s", run_dir, table)
    return record


def _joined(found: Sequence[Mapping[str, Concept] | None]) -> dict[str, Concept] | None:
    """All vectors; None where some are not learnt yet."""
    there = [some for some in found if some is not None]
    return {name: concept for some in there for name, concept in some.items()} if len(there) == len(found) else None


def _evaluated(evaluator: Evaluator, parts: Parts, run_dir: Path, cache: Path, seed: int) -> Evaluation:
    """The evaluation of a run's images, and what the evaluator can say of its attribute maps."""
    attribute, pairs = parts.attribute, read_manifest(run_dir / "manifest.csv")
    asked: dict[str, Any] = {"attribute": attribute.name, "texts": judged_by(attribute.groups)}
    found = evaluator(pairs, **asked, parts=attribute.parts, seed=seed)
    if "maps" in parts.method.needs and hasattr(evaluator, "mask_metrics"):
        return replace(found, metrics={**found.metrics, **_mask_metrics(evaluator, parts, cache)})
    return found


def _mask_metrics(evaluator: Any, parts: Parts, cache: Path) -> dict[str, MetricValue]:  # noqa: ANN401
    """What an evaluator can say of attribute maps; runs with the same maps share it."""
    plain = [[one.name, one.part, {name: some.plain() for name, some in one.concepts.items()}] for one in parts.asked]
    learning, backbone = parts.learnings[0], parts.backbone
    inputs = {"evaluator": type(evaluator).__name__, "groups": plain, "mask": learning.settings["mask"]}
    recipe = Recipe("mask_metrics", {**inputs, "model": backbone.name, "revision": backbone.revision})

    def make() -> dict[str, Any]:
        found = evaluator.mask_metrics(learning.masks, backbone, parts.asked)
        return {name: value.to_json() for name, value in found.items()}

    kept = kept_json(recipe.folder(cache) / "mask_metrics.json", make)
    return {name: MetricValue(**value) for name, value in kept.items()}
