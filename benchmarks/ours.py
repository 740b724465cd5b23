"""The package's own training step, run by the trainer that runs it in earnest, with a clock."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import lightning
import torch
from torch import Tensor

from benchmarks.bench import Bench
from benchmarks.models import NEUTRAL, POSITIVE
from hspace_exp.io.progress import track
from hspace_exp.methods.learning import Training
from hspace_exp.methods.score_matching import ScoreMatching
from hspace_exp.methods.sdid import Denoising
from hspace_exp.methods.task import Trajectories
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.training.module import ConceptModule, Examples
from hspace_exp.training.noised import NoisedImages
from hspace_exp.training.on_policy import OnPolicyStates

PROMPTS = ConceptPrompts(POSITIVE, NEUTRAL, "woman")
IMAGES = 16


def sdid(batch: int) -> Training:
    """``method=sdid``: conf/method/sdid.yaml."""
    return Training(Denoising(), partial(torch.optim.Adam, lr=0.1), batch_size=batch)


def score_matching(batch: int) -> Training:
    """``method=score_matching``: conf/method/score_matching.yaml."""
    optimizer = partial(torch.optim.AdamW, lr=0.01, weight_decay=0.01)
    return Training(ScoreMatching(), optimizer, vector="channel", init_std=0.02, batch_size=batch)


def named(count: int) -> list[str]:
    """Names of K concepts."""
    return [f"concept{i}" for i in range(count)]


def noised(backbone: Backbone, batch: int, concepts: int = 1) -> NoisedImages:
    """Cached latents of x+ (random here), noised afresh at every step; prompts are encoded once."""
    latents = torch.randn(concepts, IMAGES, *backbone.latent_shape, generator=torch.Generator().manual_seed(1))
    prompts = dict.fromkeys(named(concepts), PROMPTS)
    return NoisedImages(backbone, prompts, latents, batch_size=batch)


def on_policy(backbone: Backbone, batch: int, states: int) -> OnPolicyStates:
    """States of sampling runs (random here), with the teacher and the U-Net's first half kept."""
    random = torch.Generator().manual_seed(2)
    latents = torch.randn(states // 4, 4, *backbone.latent_shape, generator=random)
    runs = Trajectories(latents, torch.randint(0, backbone.num_train_timesteps, latents.shape[:2], generator=random))
    prompts = dict.fromkeys(named(1), PROMPTS)
    return OnPolicyStates(backbone, prompts, {named(1)[0]: [runs]}, batch_size=batch)


class Clock(lightning.Callback):
    """Reads the time at the start of every ``calls``-th step after the warm-up, when the device is done."""

    def __init__(self, bench: Bench, warmup: int, calls: int) -> None:
        """Take the device to wait for, the steps that do not count, and the steps between readings."""
        self.bench, self.warmup, self.calls = bench, warmup, calls
        self.readings: list[float] = []
        self.losses: list[Tensor] = []

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        """Read the clock."""
        if batch_idx >= self.warmup and (batch_idx - self.warmup) % self.calls == 0:
            self.bench.synchronize()
            self.readings.append(time.perf_counter())

    def on_train_batch_end(
        self,
        trainer: Any,  # noqa: ANN401
        module: Any,  # noqa: ANN401
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Keep the loss, on its device."""
        self.losses.append(outputs["loss"].detach())

    @property
    def samples(self) -> list[float]:
        """Seconds a step, one value a group."""
        pairs = zip(self.readings, self.readings[1:], strict=False)
        return [(after - before) / self.calls for before, after in pairs]


def time_training(
    bench: Bench,
    name: str,
    backbone: Backbone,
    training: Training,
    examples: Examples,
    names: Sequence[str] = ("concept0",),
    *,
    calls: int = 3,
    repeats: int = 5,
    **more: Any,  # noqa: ANN401
) -> float:
    """Median seconds of a step of ``ConceptModule`` under ``lightning.Trainer``; its overhead counts.

    Args:
        bench: where the reading goes.
        name: of the reading.
        backbone: frozen.
        training: the method's.
        examples: gives the batches; drawing them counts.
        names: of the concepts.
        calls: steps between two readings of the clock.
        repeats: readings.
        more: kept beside the reading.
    """
    calls, repeats = bench.of_size((calls, repeats), (1, 2))
    warmup = bench.of_size(3, 1)
    clock = Clock(bench, warmup, calls)
    module = ConceptModule(backbone, training, names, examples)
    more |= {"images": training.batch_size * len(names)}
    with _quiet(), bench.peak_memory(more):
        steps = warmup + calls * repeats + 1
        trainer = lightning.Trainer(
            max_steps=steps,
            accelerator="gpu" if bench.device.type == "cuda" else "cpu",
            devices=1,
            callbacks=[clock],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, track(range(steps), name))
    if not torch.stack(clock.losses).isfinite().all():
        bench.found.note(f"{name}: a loss was not finite")
    return bench.found.measure(name, clock.samples, **more)


class _quiet(warnings.catch_warnings):
    """Lightning says nothing about itself, and leaves its log level alone."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
            logging.getLogger(name).setLevel(logging.ERROR)
