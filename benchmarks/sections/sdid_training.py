"""Training against SDID's step, at the shape of Stable Diffusion 1.4."""

from __future__ import annotations

import torch

from benchmarks import models, ours
from benchmarks.bench import Bench
from benchmarks.kept import KeptBatches
from benchmarks.references import DiscoveringStep

ENCODING, CACHED = 2.0, 1.3


def measure(bench: Bench) -> None:
    """Images a second of both, in bf16, with VAE and text encoder in SDID's loop, and with latents cached in both."""
    backbone = models.stable_diffusion(bench.device, torch.bfloat16, bench.tiny)
    vae = models.vae_as(backbone, torch.bfloat16)
    batches = bench.of_size(8, 2)
    for batch in bench.of_size((8, 32), (2,)):
        theirs = {}
        for how, cached in (("images encoded at every step", False), ("latents cached", True)):
            step = DiscoveringStep(backbone, vae, batch, cached=cached)
            theirs[how] = bench.time(f"SDID, {how}, batch {batch}", step, calls=2, images=batch, batch=batch)
        training, examples = ours.sdid(batch), ours.noised(backbone, batch)
        name = f"ours, fresh noise, batch {batch}"
        fresh = ours.time_training(bench, name, backbone, training, examples, calls=2, batch=batch)
        pool = KeptBatches(examples, batches)
        name = f"ours, first half kept, batch {batch}"
        kept = ours.time_training(bench, name, backbone, training, pool, batch=batch)
        encoding, latents = theirs.values()
        found = bench.found
        found.bar(f"ours (first half kept) against SDID's step, both bf16, batch {batch}", encoding / kept, ENCODING)
        found.bar(f"the same with latents cached in both, bf16, batch {batch}", latents / kept, CACHED)
        found.note(
            f"Batch {batch}, fresh noise at every step: {encoding / fresh:.2f} ×, and {latents / fresh:.2f} × with "
            f"latents cached in both. Kept is a pool of {batches} batches of noised images."
        )
        del pool, step
        bench.free()
