"""How much of the matrix units' speed a training step of Stable Diffusion 1.4 uses, and what raises it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import faster, models, ours
from benchmarks.bench import Bench
from hspace_exp.concepts.method import Training
from hspace_exp.concepts.module import ConceptModule, Examples
from hspace_exp.models.backbone import Backbone

LIMIT = 0.40
COMPILING = 150.0  # seconds that must be left
Context = Callable[[], AbstractContextManager[object]]


def measure(bench: Bench) -> None:
    """The share of the measured bf16 peak, step by step of what may raise it."""
    batch, states = bench.of_size(32, 2), bench.of_size(256, 8)
    backbone = models.stable_diffusion(bench.device, torch.bfloat16, bench.tiny)
    peak = matrix_peak(bench)
    training = ours.score_matching(batch)
    steps: dict[str, Examples] = {
        "fresh noise": ours.noised(backbone, batch),
        "first half and teacher kept": ours.on_policy(backbone, batch, states),
    }
    work = {name: step_flops(backbone, training, examples) for name, examples in steps.items()}
    for name, flops in work.items():
        bench.found.measure(f"work of a step, {name}", [flops / 1e12], "TFLOP", batch=batch)
    best: dict[str, tuple[float, str]] = dict.fromkeys(steps, (0.0, ""))

    def share(how: str, name: str, **more: Any) -> None:  # noqa: ANN401
        seconds = ours.time_training(bench, f"{name}, {how}", backbone, training, steps[name], **more)
        used = work[name] / seconds / peak
        bench.found.measure(f"{name}, {how}: share of the peak", [100 * used], "%", batch=batch)
        best[name] = max(best[name], (used, how))

    ways: dict[str, Context] = {"eager": nullcontext, "channels_last": partial(faster.channels_last, backbone.unet)}
    if bench.device.type == "cuda":
        ways["channels_last, cuDNN attention"] = partial(_both, backbone)
    for how, context in ways.items():
        try:
            with context():
                for name in steps:
                    share(how, name)
        except RuntimeError as error:  # a kernel that does not take these shapes
            bench.found.note(f"{how} failed: {str(error)[:200]}")
    eager = dict(best)
    for name, (used, how) in eager.items():
        bench.found.note(f"Without compiling, best for {name}: {how}, {100 * used:.1f} %.")
    if bench.left > bench.of_size(COMPILING, 0.0):
        _compiled(bench, backbone, ways[eager["fresh noise"][1]], share, list(steps))
    else:
        bench.found.note(f"torch.compile was left out: {bench.left:.0f} s were left")
    for name, (used, how) in best.items():
        bench.found.bar(
            f"{name}, batch {batch}: share of the measured bf16 peak ({how})", 100 * used, 100 * LIMIT, unit="%"
        )


def _both(backbone: Backbone) -> AbstractContextManager[object]:
    stack = ExitStack()
    stack.enter_context(faster.channels_last(backbone.unet))
    stack.enter_context(faster.cudnn_attention())
    return stack


def _compiled(bench: Bench, backbone: Backbone, way: Context, share: Callable[..., None], names: list[str]) -> None:
    """With compiled blocks; what compiling takes is the first step, timed apart."""
    backend = bench.of_size("inductor", "eager")
    batch = bench.of_size(32, 2)
    examples, training = ours.noised(backbone, batch), ours.score_matching(batch)
    try:
        with way(), faster.compiled(backbone.unet, backend):
            started = time.perf_counter()
            step_of(backbone, training, examples)
            bench.synchronize()
            bench.found.measure("compiling", [time.perf_counter() - started])
            for name in names:
                share("compiled", name)
    except Exception as error:  # compilers fail in many ways, and what was found before stands
        bench.found.note(f"torch.compile failed: {type(error).__name__}: {str(error)[:300]}")


def step_of(backbone: Backbone, training: Training, examples: Examples) -> None:
    """One step without the trainer."""
    module = ConceptModule(backbone, training, ours.named(1), examples).to(backbone.device)
    vectors = module.vectors.repeat_interleave(training.batch_size, 0)
    training.objective(backbone, vectors, examples.draw(0)).mean().backward()


def step_flops(backbone: Backbone, training: Training, examples: Examples) -> int:
    """Floating-point operations of a step: all forward passes, and the backward pass that autograd makes.

    Weights are frozen and nothing before h requires a gradient, so that pass is what is really needed.
    """
    with FlopCounterMode(display=False) as counter:
        step_of(backbone, training, examples)
    return int(counter.get_total_flops())


def matrix_peak(bench: Bench) -> float:
    """Floating-point operations a second of a large bf16 matrix product of random numbers."""
    side = bench.of_size(8192, 256)
    a, b = torch.randn(2, side, side, device=bench.device, dtype=torch.bfloat16)
    samples = bench.samples(lambda: a @ b, *bench.of_size((20, 7), (1, 2)))
    peaks = [2 * side**3 / seconds / 1e12 for seconds in samples]
    return 1e12 * bench.found.measure(f"bf16 matrix peak, side {side}", peaks, "TFLOP/s")
