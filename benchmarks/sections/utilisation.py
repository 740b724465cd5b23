"""How much of the matrix units' speed a training step of Stable Diffusion 1.4 uses, and what raises it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import faster, models, ours
from benchmarks.bench import Bench
from benchmarks.kept import KeptBatches
from hspace_exp.methods.learning import Training
from hspace_exp.models.backbone import Backbone
from hspace_exp.training.module import ConceptModule, Examples

LIMIT = 40.0  # per cent
COMPILING_MORE = 45.0  # seconds that must be left for each further kind of step
Context = Callable[[], AbstractContextManager[object]]
# How the kept step compares with other people's loops, where this command has timed them: (section, reading, bar).
RIVALS = {
    "the released code": ("released_training", "released, bf16, batch {batch}", 3.0),
    "SDID": ("sdid_training", "SDID, images encoded at every step, batch {batch}", 2.0),
    "SDID, latents cached in both": ("sdid_training", "SDID, latents cached, batch {batch}", 1.3),
}


@dataclass
class Step:
    """A way to train, what it takes, and the best share of the peak that it reached so far."""

    training: Training
    examples: Examples
    flops: int = 0
    used: float = 0.0
    how: str = ""
    seconds: dict[str, float] = field(default_factory=dict)


def measure(bench: Bench) -> None:
    """The share of the measured bf16 peak, step by step of what may raise it."""
    batch, states = bench.of_size(32, 2), bench.of_size(256, 8)
    backbone = models.stable_diffusion(bench.device, torch.bfloat16, bench.tiny)
    peak = matrix_peak(bench)
    matching, examples = ours.score_matching(batch), ours.noised(backbone, batch)
    steps = {
        "score_matching, fresh noise": Step(matching, examples),
        "score_matching, first half and teacher kept": Step(matching, ours.on_policy(backbone, batch, states)),
        "sdid, fresh noise": Step(ours.sdid(batch), examples),
        "sdid, first half kept": Step(ours.sdid(batch), KeptBatches(examples, bench.of_size(4, 1))),
    }
    for name, step in steps.items():
        step.flops = step_flops(backbone, step.training, step.examples)
        bench.found.measure(f"{name}: work of a step", [step.flops / 1e12], "TFLOP")

    def share(name: str, how: str) -> float:
        step = steps[name]
        what = f"{name}, {how}"
        seconds = ours.time_training(bench, what, backbone, step.training, step.examples, calls=2, repeats=4)
        used = 100 * step.flops / seconds / peak
        bench.found.measures[-1]["share_of_peak"] = used
        step.seconds[how] = seconds
        if used > step.used:
            step.used, step.how = used, how
        return used

    ways: dict[str, Context] = {"eager": nullcontext, "channels_last": partial(faster.channels_last, backbone.unet)}
    if bench.device.type == "cuda":
        ways["cuDNN attention"] = faster.cudnn_attention
    for how, context in ways.items():
        try:
            with context():
                for name in steps:
                    share(name, how)
        except RuntimeError as error:  # a kernel that does not take these shapes
            bench.found.note(f"{how} failed: {str(error)[:200]}")
    for name, step in steps.items():
        bench.found.bar(f"{name}, batch {batch}: share of the bf16 peak ({step.how})", step.used, LIMIT, unit="%")
    way = ways[steps["score_matching, fresh noise"].how]
    if bench.left < bench.of_size(faster.COMPILING, 0.0):
        bench.found.note(f"torch.compile was left out: {bench.left:.0f} s were left")
        return
    try:
        _compiled(bench, backbone, way, steps, share)
    except Exception as error:  # compilers fail in many ways, and what was found before stands
        bench.found.note(f"torch.compile failed: {type(error).__name__}: {str(error)[:300]}")


def _compiled(
    bench: Bench, backbone: Backbone, way: Context, steps: dict[str, Step], share: Callable[[str, str], float]
) -> None:
    """With compiled blocks; the first step of each kind compiles, and is timed apart."""
    with way(), faster.compiled(backbone.unet, bench.of_size("inductor", "eager")):
        for name, step in reversed(steps.items()):  # the kept steps are the second half alone, so quicker to compile
            if bench.left < bench.of_size(COMPILING_MORE, 0.0):
                bench.found.note(f"{name} was not compiled: {bench.left:.0f} s were left")
                continue
            started = time.perf_counter()
            step_of(backbone, step.training, step.examples)
            bench.synchronize()
            bench.found.measure(f"{name}: compiling what is new", [time.perf_counter() - started])
            used = share(name, "compiled")
            what = f"{name}, batch {step.training.batch_size}: share of the bf16 peak (compiled)"
            bench.found.bar(what, used, LIMIT, unit="%")
    for rival, (section, reading, limit) in RIVALS.items():
        method = (
            "score_matching, first half and teacher kept" if rival == "the released code" else "sdid, first half kept"
        )
        step = steps[method]
        theirs = bench.earlier(section, reading.format(batch=step.training.batch_size))
        if theirs is not None and "compiled" in step.seconds:
            name = f"{method}, compiled, against the step of {rival}, both bf16, batch {step.training.batch_size}"
            bench.found.bar(name, theirs / step.seconds["compiled"], limit)


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
