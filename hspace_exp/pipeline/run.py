"""One run: the only reader of the configuration. Stages in order, each resumable, and one record at the end."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from hspace_exp.concepts.concept import Concept
from hspace_exp.config.checks import check
from hspace_exp.doctor.needs import needs_of, require
from hspace_exp.errors import UserError
from hspace_exp.evaluation.evaluate import Evaluation
from hspace_exp.evaluation.judged_csv import write_judged
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.generation.manifest import read_manifest
from hspace_exp.io.atomic import write_json
from hspace_exp.io.digest import digest, essential
from hspace_exp.io.locks import alone
from hspace_exp.io.progress import quieten
from hspace_exp.models.devices import resolve_device
from hspace_exp.models.loading import fingerprint
from hspace_exp.models.prompts import check_prompts
from hspace_exp.models.sampling import Sampling
from hspace_exp.pipeline.job import Job
from hspace_exp.pipeline.stages import make_concepts, make_images, make_maps, make_positives, make_runs, trained
from hspace_exp.pipeline.workers import Worker
from hspace_exp.prompts.attributes import Attribute, judged_by, kept_by, prompts_of, targets, with_own_concept
from hspace_exp.prompts.explicit import explicit_prompts
from hspace_exp.prompts.plan import check_assignment, plan
from hspace_exp.prompts.subjects import warn_of_unsaid, wordings
from hspace_exp.results.loggers import close, log_results
from hspace_exp.results.provenance import describe_device, shareable
from hspace_exp.results.record import RunRecord
from hspace_exp.results.write import finished, record_of, write_results

log = logging.getLogger(__name__)

# Images sampled at once: of a large U-Net, and of a small one on a CPU (an eighth less time than with 8) and a GPU.
CHUNK, SMALL_CHUNK_CPU, SMALL_CHUNK_GPU = 8, 32, 192


def run(cfg: DictConfig, run_dir: Path, overrides: Sequence[str] = ()) -> RunRecord | None:
    """Run the stages of a configuration.

    Args:
        cfg: composed from conf/.
        run_dir: the run's folder; what is there already is used again.
        overrides: of the command line, for the record.

    Returns:
        the record, or None where the stage ``evaluation`` is not asked for.

    Raises:
        UserError: the configuration or a file is wrong; nothing half-written is left.
    """
    config = plain_config(cfg)
    check(config)
    check_assignment(config["protocol"]["assignment"], targets(Attribute.of(config["attribute"]).groups))
    devices = config["trainer"].get("devices", 1)
    worker = Worker.here(run_dir, devices)
    if worker.rank:
        _help(cfg, config, worker)
        return None
    done = finished(run_dir, config)
    if done is not None:
        log.info("%s is done already: nothing to do", run_dir)
        return done
    require(needs_of(config))
    cfg, device = _on_device(cfg, config, worker)
    with worker.leading(overrides, device):
        return _run(cfg, config, worker, overrides)


def _on_device(cfg: DictConfig, config: Mapping[str, Any], worker: Worker) -> tuple[DictConfig, torch.device]:
    """The configuration with this process's own device, for which all is prepared."""
    quieten()
    cfg = cfg.copy()
    device = worker.device(resolve_device(config["device"]), config["trainer"].get("devices", 1))
    cfg.device = str(device)
    Path(config["paths"]["cache"]).mkdir(parents=True, exist_ok=True)
    return cfg, device


def _help(cfg: DictConfig, config: Mapping[str, Any], worker: Worker) -> None:
    """Make a share of the images, in another rank than 0."""
    cfg, _ = _on_device(cfg, config, worker)
    job = replace(make_job(cfg, config, worker.run_dir), worker=worker)
    while worker.wait_until_ready():
        found = [trained(team) for team in job.teams] if job.method.training is not None else []
        if None not in found:
            concepts = {name: one for some in found if some for name, one in some.items()} if job.method.edits else None
            make_images(job, concepts)
            log.info("worker %d of %d: no images are left to make", worker.rank, worker.count)
            return
        time.sleep(1)  # what it waited for was left by an earlier run


def _run(cfg: DictConfig, config: Mapping[str, Any], worker: Worker, overrides: Sequence[str]) -> RunRecord | None:
    """All stages."""
    run_dir = worker.run_dir
    seconds: dict[str, float] = {}
    with _timed("loading", seconds):
        evaluator = instantiate(cfg.evaluator) if "evaluation" in config["stages"] else None
        job = replace(make_job(cfg, config, run_dir), worker=worker)
    logger = instantiate(cfg.logger)(run_dir, "/".join(run_dir.parts[-4:]), shareable(config))
    job = replace(job, make_trainer=partial(job.make_trainer, logger=logger or False))
    try:
        _work(job, config["stages"], seconds)
        if evaluator is None:
            log.info("done with %s: %s", ", ".join(config["stages"]), run_dir)
            return None
        with _timed("evaluation", seconds):
            found = _evaluated(evaluator, config, run_dir)
            if "maps" in job.method.needs and hasattr(evaluator, "mask_metrics"):
                found = replace(found, metrics={**found.metrics, **_mask_metrics(evaluator, job)})
        record = record_of(config, found, seconds, describe_device(job.backbone.device), overrides)
        write_judged(run_dir, found.rows)
        table = write_results(record, read_manifest(run_dir / "manifest.csv"), run_dir)
        log_results(logger, {name: m.value for name, m in record.metrics.items()}, run_dir / "grid.png")
    finally:
        close(logger)
    log.info("%s\n%s", run_dir, table)
    return record


def _evaluated(evaluator: Any, config: Mapping[str, Any], run_dir: Path) -> Evaluation:  # noqa: ANN401
    """The evaluation of a run's images."""
    attribute, pairs = Attribute.of(config["attribute"]), read_manifest(run_dir / "manifest.csv")
    asked = {"attribute": attribute.name, "texts": judged_by(attribute.groups), "parts": attribute.parts}
    found: Evaluation = evaluator(pairs, **asked, seed=config["seed"])
    return found


def plain_config(cfg: DictConfig) -> dict[str, Any]:
    """The resolved configuration; the revision of local weights is a part of it."""
    resolved = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    if not isinstance(resolved, dict):
        raise UserError("expected a configuration with named keys")
    plain = {str(key): value for key, value in resolved.items()}
    source = plain["model"].get("path") or plain["model"].get("source")
    if isinstance(source, str) and (Path(source).expanduser() / "unet").is_dir():
        plain["model"]["revision"] = fingerprint(Path(source).expanduser() / "unet")
    plain["attribute"] = with_own_concept(plain["attribute"])
    return plain


def make_job(cfg: DictConfig, config: Mapping[str, Any], run_dir: Path) -> Job:
    """Instantiate the parts, the model last, so that wrong input is found before anything expensive happens."""
    make = partial(instantiate, _convert_="all")
    method, frequency, masks, make_scheduler = (
        make(node) for node in (cfg.method, cfg.frequency, cfg.mask, cfg.scheduler)
    )
    protocol, prompts = config["protocol"], config["prompts"]
    asked = Attribute.of(config["attribute"]).groups if method.edits else ()
    if len(asked) > 1 and not method.composes:
        names = " or ".join(group.name for group in asked)
        raise UserError(f"method {method.name!r} asks for one concept at a time: use attribute={names} with it")
    method.strengths(prompts_of(asked))  # each must have one
    keep = kept_by(asked) if method.keeps else {}
    learnt = [prompts_of(asked), *keep.values()] if method.training is not None else []
    items = plan(
        protocol["professions"],
        prompts["templates"],
        protocol["images_per_profession"],
        targets(asked),
        protocol["assignment"],
        config["seed"],
    )
    left = explicit_prompts(_prompts(items), asked) if config["respect_prompt"] else {}
    items = [replace(item, target="") if item.prompt in left else item for item in items]
    backbone = make(cfg.model)
    concepts = [some for group in learnt for some in group.values()]
    for some in concepts:
        warn_of_unsaid(some, method.subjects)
    said = [wordings(some, method.subjects) for some in concepts]
    check_prompts(
        backbone.encode_prompts, [*(p for some in said for p in (*some.positive, *some.neutral)), *_prompts(items)]
    )
    usual = CHUNK
    if backbone.small:
        usual = SMALL_CHUNK_CPU if backbone.device.type == "cpu" else SMALL_CHUNK_GPU
    return Job(
        backbone=backbone,
        sampling=Sampling(protocol["num_inference_steps"], make_scheduler, config["chunk_size"] or usual),
        method=method,
        frequency=frequency,
        masks=masks,
        attribute=config["attribute"]["name"],
        asked=asked,
        items=items,
        training_images=protocol["training_images"],
        training_steps=protocol["training_steps"],
        seed=config["seed"],
        image_seed=protocol["image_seed"],
        run_dir=run_dir,
        cache=Path(config["paths"]["cache"]),
        make_trainer=make(cfg.trainer),
        settings={
            "training": config["method"]["training"],
            "mask": config["mask"],
            "frequency": config["frequency"],
            "precision": config["trainer"].get("precision"),
            "applied": {key: config["method"].get(key) for key in ("strength", "branch", "window", "edit")},
        },
        placing={
            "templates": prompts["templates"],
            "assignment": protocol["assignment"],
            "seed": config["seed"] if protocol["assignment"] == "random" else None,
            **({"targets": targets(asked)} if len(asked) > 1 else {}),
            **({"left_alone": sorted(left)} if left else {}),
        },
    )


def _prompts(items: Sequence[Any]) -> list[str]:
    return list(dict.fromkeys(item.prompt for item in items))


def _work(job: Job, stages: Sequence[str], seconds: dict[str, float]) -> None:
    """Everything before the evaluation."""
    concepts: dict[str, Concept] | None = {} if job.method.edits else None
    if job.method.training is not None:
        found = [_vectors(team, stages, seconds) for team in job.teams]
        concepts = None if None in found else {name: one for some in found if some for name, one in some.items()}
    if "generation" in stages:
        if job.method.edits and concepts is None:
            raise UserError(f"{job.concepts_dir} lacks this configuration's vectors: run the stage training first")
        with _timed("generation", seconds):
            make_images(job, concepts)


def _vectors(job: Job, stages: Sequence[str], seconds: dict[str, float]) -> dict[str, Concept] | None:
    """Vectors that are there already, or else, where the stages say so, learnt ones."""
    with alone(job.shared_concepts):
        there = trained(job)
        unseen = "maps" in job.method.needs and "masks" in stages and not (job.run_dir / job.masks_file).exists()
        if (there is None or unseen) and {"concepts", "masks", "training"} & set(stages):
            return _learn(job, stages, seconds, there)
        return there


def _learn(
    job: Job, stages: Sequence[str], seconds: dict[str, float], there: dict[str, Concept] | None
) -> dict[str, Concept] | None:
    """The stages that end with vectors, as far as they are asked for; vectors that are there stay."""
    with _timed("concepts", seconds):
        positives, runs = make_positives(job), make_runs(job)
    if not {"masks", "training"} & set(stages):
        return there
    with _timed("masks", seconds):
        maps = make_maps(job, positives, seconds)
    if there is not None or "training" not in stages:
        return there
    with _timed("training", seconds):
        return make_concepts(job, positives, maps, runs)


def _mask_metrics(evaluator: Any, job: Job) -> dict[str, MetricValue]:  # noqa: ANN401
    """What an evaluator can say of attribute maps; runs with the same maps share it."""
    groups = [
        [group.name, group.part, {name: some.plain() for name, some in group.concepts.items()}] for group in job.asked
    ]
    about: dict[str, Any] = {"kind": "mask_metrics", "evaluator": type(evaluator).__name__, "groups": groups}
    about |= {"mask": essential(job.settings["mask"])}
    about |= {"model": job.backbone.name, "revision": job.backbone.revision}
    path = job.cache / digest(about) / "mask_metrics.json"
    with alone(path.parent):
        if not path.exists():
            found = evaluator.mask_metrics(job.masks, job.backbone, job.asked)
            write_json(path, {name: value.to_json() for name, value in found.items()})
        return {name: MetricValue(**value) for name, value in json.loads(path.read_bytes()).items()}


@contextmanager
def _timed(stage: str, seconds: dict[str, float]) -> Iterator[None]:
    log.info("%s …", stage)
    started = time.monotonic()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.monotonic() - started
