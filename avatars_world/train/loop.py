"""What every stage's loop shares: a clock that drives the schedule, an average of the weights, a log line."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from hspace_exp.io.atomic import save_safetensors


class Clock:
    """Progress by wall time, so that a stage always ends early enough to write its result."""

    def __init__(self, max_seconds: float, name: str, log_every: float = 15.0, max_steps: int | None = None) -> None:
        """Start counting; ``max_steps`` ends a rehearsal by steps instead."""
        self.max_seconds, self.name, self.log_every, self.max_steps = max_seconds, name, log_every, max_steps
        self.started = time.monotonic()
        self.logged = self.started
        self.step = 0

    @property
    def progress(self) -> float:
        """Share of the budget that is used, in [0, 1]."""
        share = (time.monotonic() - self.started) / self.max_seconds
        if self.max_steps is not None:
            share = max(share, self.step / self.max_steps)
        return min(1.0, share)

    def steps(self) -> Iterator[int]:
        """Yield step numbers until the budget is used."""
        while self.progress < 1.0:
            yield self.step
            self.step += 1

    def log(self, **values: float | torch.Tensor) -> None:
        """Print one line when ``log_every`` seconds have passed."""
        now = time.monotonic()
        if now - self.logged < self.log_every:
            return
        self.logged = now
        text = " ".join(f"{k}={float(v):.5g}" for k, v in values.items())
        print(f"[{self.name}] {now - self.started:.0f}/{self.max_seconds:.0f} s step {self.step} {text}", flush=True)


def learning_rate(progress: float, peak: float, warmup: float = 0.03, floor: float = 0.01) -> float:
    """Linear warm-up over ``warmup`` of the budget, then a half cosine down to ``floor`` times the peak."""
    if progress < warmup:
        return peak * (0.02 + 0.98 * progress / warmup)
    share = (progress - warmup) / (1 - warmup)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share)))


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set the rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = value


def descend(loss: torch.Tensor, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """One optimiser step; gradients are clipped to a norm of 1 and forgotten."""
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


class Average:
    """Exponential moving average of a model's parameters, warmed up so that the random start is forgotten."""

    def __init__(self, model: nn.Module, decay: float = 0.9995) -> None:
        """Start from the current weights."""
        self.model, self.decay, self.count = model, decay, 0
        self.shadow = [p.detach().clone() for p in model.parameters()]

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the current weights."""
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        torch._foreach_lerp_(self.shadow, [p.detach() for p in self.model.parameters()], 1 - decay)

    @torch.no_grad()
    def store(self) -> None:
        """Write the average into the model."""
        for parameter, value in zip(self.model.parameters(), self.shadow, strict=True):
            parameter.copy_(value)


def save_model(model: Any, folder: Path) -> None:
    """``save_pretrained`` beside the folder, then moved to its place, so that no old shard stays."""
    fresh = folder.with_name(folder.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    model.eval().save_pretrained(fresh)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def resume(model: nn.Module, path: Path) -> None:
    """Load half-precision weights that ``store_half`` left at ``path``; nothing happens where there are none."""
    if path.exists():
        model.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})


def store_half(model: nn.Module, path: Path) -> None:
    """Write the weights as float16 safetensors."""
    save_safetensors(path, {name: tensor.half() for name, tensor in model.state_dict().items()})
