"""Where curves go: Weights & Biases, a CSV file, or nowhere. Each choice is a list of Lightning's loggers."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hspace_exp.config.schema import Text
from hspace_exp.errors import getting
from hspace_exp.models.hub import answers

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

log = logging.getLogger(__name__)

Mode = Literal["auto", "online", "offline"]

KEPT = ("concepts/*", "*.md", "*.png", "*.pdf", "record.json")  # in a run's folder, by artifacts


def wandb_logger(
    folder: Path, name: str, config: dict[str, Any], *, project: Text, mode: Mode = "auto", group: str | None = None
) -> list[Logger]:
    """Log a run to Weights & Biases, and to ``folder``/metrics.csv, from which reports draw the loss.

    The mode is ``online``, ``offline``, or ``auto``: online where a key is configured and the server answers. Else the
    run stays in ``folder``/wandb and nobody is asked to log in. The variable WANDB_MODE stands for ``auto``, and where
    it is ``disabled`` the file is all that is written. In a group runs are told apart by their method, a job type.
    """
    from lightning.pytorch.loggers import WandbLogger  # seconds, which a run that logs nowhere need not take

    job_type = config.get("method", {}).get("name")
    run = wandb_run(folder, name, mode, project=project, group=group, job_type=job_type, config=config)
    return [*([] if run is None else [WandbLogger(experiment=run)]), *csv_logger(folder, name, config)]


def wandb_run(folder: Path, name: str, mode: Mode, **options: Any) -> Any:
    """Begin a run of Weights & Biases, as ``wandb_logger`` describes it; ``options`` are those of ``wandb.init``.

    None where it is disabled. Raises UserError: it cannot begin.
    """
    asked = os.environ.get("WANDB_MODE", "")
    if asked == "disabled":
        return None
    import wandb

    chosen: Any = {"dryrun": "offline"}.get(asked, asked) if mode == "auto" and asked else mode
    if chosen == "auto" and (chosen := "online" if has_key() else "offline") == "online" and not answers(server()):
        log.warning("%s does not answer: this run stays offline, `wandb sync` uploads it later", server())
        chosen = "offline"
    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
    with getting("a run of Weights & Biases", "say logger.mode=offline, or logger=csv", wandb.Error):
        return wandb.init(dir=folder, name=name, mode=chosen, settings=settings, reinit="finish_previous", **options)


def csv_logger(folder: Path, name: str, config: dict[str, Any]) -> list[Logger]:
    """Log to ``folder``/metrics.csv."""
    from lightning.pytorch.loggers import CSVLogger  # as above

    logger = CSVLogger(folder, name="", version="")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Experiment logs directory")  # only metrics.csv is replaced
        _ = logger.experiment
    return [logger]


def no_logger(folder: Path, name: str, config: dict[str, Any]) -> list[Logger]:
    """Log nothing."""
    return []


def has_key() -> bool:
    """Whether Weights & Biases could log in to its server without asking, as it says itself."""
    import wandb

    if os.environ.get("WANDB_MODE") not in ("offline", "disabled", "dryrun") and server():
        with suppress(wandb.Error):  # a key that cannot be one
            return bool(wandb.login(prompt=False, verify=False))
    return False


def server() -> str:
    """The address of Weights & Biases, or of one's own server in its place."""
    import wandb

    return str(wandb.setup(wandb.Settings(silent=True)).settings.base_url)


def log_results(loggers: Sequence[Any], metrics: Mapping[str, float | None], folder: Path) -> None:
    """Log final numbers, and where a logger takes them the image grid and what else the run's folder is kept for."""
    for logger in loggers:
        logger.log_metrics({f"metrics/{name}": value for name, value in metrics.items() if value is not None})
        if _is_wandb(logger):
            logger.log_image("grid", [str(folder / "grid.png")])
            log_files(logger.experiment, {"": folder})
        logger.save()


def log_files(run: Any, folders: Mapping[str, Path]) -> None:
    """Log concepts, tables, records and pictures of folders as one artifact of a run of Weights & Biases.

    Names of files begin with the key of their folder. Nothing is copied here.
    """
    import wandb

    kept = wandb.Artifact(re.sub(r"[^\w.-]+", "-", run.name)[-128:].lstrip("-"), type="results")
    for under, folder in folders.items():
        for path in (path for what in KEPT for path in sorted(folder.glob(what))):
            kept.add_file(str(path), name=f"{under}{path.relative_to(folder)}", policy="immutable", skip_cache=True)
    run.log_artifact(kept)


def close(loggers: Sequence[Logger]) -> None:
    """End the run at the logger, so that the next job of a sweep has its own; while an error passes, as failed."""
    if any(map(_is_wandb, loggers)):
        import wandb

        wandb.finish(exit_code=0 if sys.exc_info()[0] is None else 1)


def _is_wandb(logger: Any) -> bool:
    from lightning.pytorch.loggers import WandbLogger  # as above

    return isinstance(logger, WandbLogger)
