"""``python -m hspace_exp +experiment=…``: compose the configuration and run it."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

# Read when torch is imported, later: threads that wait by spinning make a shared CPU many times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from hspace_exp.command_errors import CONF, KNOWN, one_line
from hspace_exp.schema import register

log = logging.getLogger(__name__)

INTERRUPTED = 130

register()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _job(cfg: DictConfig) -> None:
    from hspace_exp.run import run  # imports torch, which composing and --help do without

    try:
        hydra_cfg = HydraConfig.get()
        run(cfg, Path(hydra_cfg.runtime.output_dir), list(hydra_cfg.overrides.task))
    except KNOWN as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise  # the other jobs of the sweep go on
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)


def main() -> int:
    """Run the command; returns the exit code: 2 for wrong input, 130 when interrupted."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # so that errors arrive here instead of being printed by Hydra
    try:
        _job()
    except KNOWN as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
