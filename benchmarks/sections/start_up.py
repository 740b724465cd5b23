"""CPU time that commands take before they do anything, against that of importing the libraries which they need.

Byte code of all modules is there, as on any machine where they were imported before; the last figures are without.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from benchmarks.bench import Bench
from benchmarks.command import ROOT, environment
from benchmarks.findings import AT_MOST
from hspace_exp.avatars import CONCEPTS

QUICK, STEER, FIRST = 2.0, 4.0, 6.0  # seconds of CPU time
RECORDS = ROOT / "experiments" / "gender_fairness" / "results"
# Runs a command until the U-Net is called with something to compute, which reading its shapes is not.
_UNTIL_FIRST_STEP = """
import os, sys
from diffusers import UNet2DConditionModel
plain = UNet2DConditionModel.forward
def forward(self, *given, **named):
    if not given[0].is_meta:
        os._exit(0)
    return plain(self, *given, **named)
UNet2DConditionModel.forward = forward
from hspace_exp.__main__ import main
main()
"""
_LIBRARIES = """
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer
"""


def measure(bench: Bench) -> None:
    """Each command as a process of its own, with files that were read before."""
    with tempfile.TemporaryDirectory() as folder:
        small = ["method=sdid", "protocol=smoke", "protocol.professions=[nurse]", "protocol.training_steps=2"]
        small += ["protocol.num_inference_steps=2", "logger=none", "device=cpu"]
        run = [*small, f"paths.cache={folder}/cache", f"hydra.run.dir={folder}/run"]
        program = ["-m", "hspace_exp"]
        if not bench.tiny:
            subprocess.run([sys.executable, *program, *run], cwd=ROOT, check=True, capture_output=True)
        image = ["generate", "a photo of a nurse", "--concepts", str(CONCEPTS / "female.safetensors"), "--seeds", "1"]
        fresh = [*small, f"paths.cache={folder}/other", f"hydra.run.dir={folder}/other/run"]
        until = ["-c", _UNTIL_FIRST_STEP]
        commands: dict[str, tuple[list[str], float | None]] = {
            "--help": ([*program, "--help"], QUICK),
            "concepts show": ([*program, "concepts", "show", str(CONCEPTS)], QUICK),
            "tables of gender_fairness": ([*program, "tables", str(RECORDS)], QUICK),
            "a finished run": ([*program, *run], QUICK),
            "doctor": ([*program, "doctor"], QUICK),
            "import torch": (["-c", "import torch"], None),
            "from hspace_exp import steer": (["-c", "from hspace_exp import steer"], STEER),
            "import of the libraries alone": (["-c", _LIBRARIES], None),
            "generate, until the first step": ([*until, *image, "--out", f"{folder}/out", "--device", "cpu"], FIRST),
            "a run, until the first step": ([*until, *fresh], FIRST),
        }
        for name, (words, limit) in [*commands.items()][: bench.of_size(None, 3)]:
            samples = [cpu_seconds([sys.executable, *words]) for _ in range(bench.of_size(4, 2))][1:]
            seconds = bench.found.measure(name, samples)
            if limit is not None:
                bench.found.bar(f"CPU time of {name}", seconds, limit, AT_MOST, "s")
        without = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": f"{folder}/nowhere"}
        for name in ("import torch", "import of the libraries alone", "generate, until the first step")[
            bench.tiny * 2 :
        ]:
            words = [sys.executable, *commands[name][0]]
            samples = [cpu_seconds(words, **without) for _ in range(bench.of_size(3, 1))]
            bench.found.measure(f"{name}, without byte code", samples)


def cpu_seconds(words: Sequence[str], **more: str) -> float:
    """What a command takes of all cores, its own and its children's, with some variables of its environment."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, cwd=ROOT, env=environment(OMP_NUM_THREADS="1", **more), check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
