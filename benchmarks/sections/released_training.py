"""Training against the step of the code released with the paper, at the shape of Stable Diffusion 1.4."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks import faster, models, ours
from benchmarks.bench import Bench
from benchmarks.references import ReleasedStep
from hspace_exp.methods.learning import Training
from hspace_exp.models.backbone import Backbone
from hspace_exp.training.on_policy import OnPolicyStates

SAME, IN_HALF = 3.0, 8.0
REUSES = (2, 8)  # steps that see a state: about 2 in protocol=full


@dataclass(frozen=True)
class Ours:
    """Seconds of a step with fresh noise, of one with what is kept (also compiled), and of keeping a state."""

    fresh: float
    kept: float
    ahead: float
    compiled: float | None = None


def measure(bench: Bench) -> None:
    """Images a second of both, in bf16 and float32, and with what is kept."""
    batches = bench.of_size((8, 32), (2,))
    small = batches[0]
    backbone = models.stable_diffusion(bench.device, torch.bfloat16, bench.tiny)
    vae = models.vae_as(backbone, torch.bfloat16)
    half = {}
    for batch in batches:
        step = ReleasedStep(backbone, vae, batch)
        theirs = bench.time(f"released, bf16, batch {batch}", step, calls=2, images=batch, batch=batch)
        half[batch] = own = _ours(bench, backbone, batch, "bf16")
        name = f"ours (first half and teacher kept) against the released step, both bf16, batch {batch}"
        bench.found.bar(name, theirs / own.kept, SAME)
        amortised = ", ".join(
            f"{theirs / (own.kept + batch * own.ahead / reuse):.2f} × where each is seen {reuse} times"
            for reuse in REUSES
        )
        bench.found.note(
            f"Both bf16, batch {batch}, nothing kept, every z_t fresh: {theirs / own.fresh:.2f} ×. What is kept takes "
            f"{1e3 * own.ahead:.1f} ms a state, once; with that counted: {amortised}."
        )
        del step
        bench.free()
    del vae
    models.in_type(backbone, torch.float32)
    bench.free()
    step = ReleasedStep(backbone, backbone.vae, small)
    exact = bench.time(f"released, float32, batch {small}", step, calls=1, repeats=3, images=small, batch=small)
    name = f"ours in bf16 (first half and teacher kept) against the released step in float32, batch {small}"
    bench.found.bar(name, exact / half[small].kept, IN_HALF)
    own = _ours(bench, backbone, small, "float32", compiled=True)
    bench.found.bar(f"the same, both float32, batch {small}", exact / own.kept, SAME)
    if own.compiled is not None:
        bench.found.bar(f"the same, both float32, batch {small}, ours compiled", exact / own.compiled, SAME)
    bench.found.note(
        f"With nothing kept: {exact / half[small].fresh:.2f} × in bf16, {exact / own.fresh:.2f} × in float32. "
        "The precision of the released code is not known here; float32 is what diffusers loads by default, with "
        "TF32 for convolutions as PyTorch has it."
    )


def _ours(bench: Bench, backbone: Backbone, batch: int, number: str, compiled: bool = False) -> Ours:
    training, states = ours.score_matching(batch), bench.of_size(256, 8)
    where = f"{number}, batch {batch}"
    examples = ours.noised(backbone, batch)
    fresh = ours.time_training(bench, f"ours, fresh noise, {where}", backbone, training, examples, batch=batch)
    made: list[OnPolicyStates] = []

    def prepare() -> None:
        made[:] = [ours.on_policy(backbone, batch, states)]

    prepare()  # kernels are chosen
    seconds = bench.samples(prepare, 1, 1)
    ahead = bench.found.measure(f"ours, keeping {states} states, {where}", seconds, images=states) / states
    encoded = made[0].encoded
    bench.found.note(
        f"{where}: {states} states did not fit into kept_bytes, so only the teacher was kept."
        if encoded is None
        else f"{where}: the first half of a state takes {encoded.bytes_a_row / 1e6:.3g} MB; {states} were kept."
    )
    name = f"ours, first half and teacher kept, {where}"
    kept = ours.time_training(bench, name, backbone, training, made[0], batch=batch)
    with faster.checkpointing(backbone.unet):
        less = ours.time_training(bench, f"{name}, checkpointing", backbone, training, made[0], batch=batch)
    bench.found.note(f"{where}: model.checkpointing=true makes that step {less / kept:.2f} × as long.")
    return Ours(fresh, kept, ahead, _compiled(bench, backbone, training, made[0], name) if compiled else None)


def _compiled(
    bench: Bench, backbone: Backbone, training: Training, examples: OnPolicyStates, name: str
) -> float | None:
    """Seconds of the kept step with compiled blocks; None where there is no time, or the compiler fails."""
    if bench.left < bench.of_size(faster.COMPILING, 0.0):
        bench.found.note(f"{name}, compiled: left out, {bench.left:.0f} s were left")
        return None
    try:
        with faster.compiled(backbone.unet, bench.of_size("inductor", "eager")):
            batch = training.batch_size
            return ours.time_training(bench, f"{name}, compiled", backbone, training, examples, batch=batch)
    except Exception as error:  # compilers fail in many ways, and what was found before stands
        bench.found.note(f"{name}, compiled: {type(error).__name__}: {str(error)[:300]}")
        return None
