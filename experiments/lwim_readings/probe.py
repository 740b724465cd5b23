"""How much chi moves h, in each of its readings: ||h_chi - h|| / ||h|| over noised x+ under the neutral prompt.

python experiments/lwim_readings/probe.py --out experiments/lwim_readings/results/chi.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, cast

import torch

from benchmarks.recording import record_hspace
from hspace_exp.config.checks import plain_config
from hspace_exp.config.command_line import composed
from hspace_exp.io.atomic import write_json
from hspace_exp.methods.lwim import chi
from hspace_exp.models.attention import suppress_cross_attention
from hspace_exp.models.devices import resolve_device
from hspace_exp.pipeline.learning import make_maps, make_positives
from hspace_exp.pipeline.parts import make_parts
from hspace_exp.results.record import describe_device, git_state
from hspace_exp.training.noised import NoisedImages

# Reading → scope, source of chi, whether the margin is of places.
READINGS = {
    f"{name}, {scope}": (scope, source, placed)
    for name, source, placed in (
        ("map", "map", False),
        ("margin", "margin", False),
        ("margin of places", "margin", True),
    )
    for scope in ("final", "encoder", "all")
}
LATE = 600  # timesteps from which on the text decides much


@torch.no_grad()
def main() -> None:
    """Measure, and write the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=16, help="of 8 rows a concept")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="e.g. protocol=smoke")
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    cfg = composed(["+experiment=gender_fairness", "method=lwim", "logger=none", *a.set], "config")
    cfg.device = str(resolve_device(cfg.device))
    parts = make_parts(cfg, plain_config(cfg))
    learning, cache = parts.learnings[0], Path(cfg.paths.cache)
    found = make_positives(learning, cache)
    maps: Any = make_maps(learning, cache, found, a.out.parent / "masks.png")
    latents = torch.stack([found[name].latents for name in learning.concepts])
    stacked = torch.stack([maps[name] for name in learning.concepts])
    examples = NoisedImages(parts.backbone, learning.concepts, latents, stacked)
    rows: dict[str, list[tuple[float, bool]]] = {name: [] for name in READINGS}
    for step in range(a.batches):
        batch = examples.draw(step)
        plain = _h(parts, batch, None, "")
        for name, (scope, source, placed) in READINGS.items():
            kept = chi(parts.backbone, batch, cast(torch.Tensor, batch.maps), source, 0.5, placed)
            moved = (_h(parts, batch, kept, scope) - plain).flatten(1).norm(dim=1)
            share = (moved / plain.flatten(1).norm(dim=1)).tolist()
            rows[name] += list(zip(share, (batch.timesteps >= LATE).tolist(), strict=True))
    told: dict[str, Any] = {"readings": {name: _means(some) for name, some in rows.items()}}
    write_json(a.out, {**told, "git": git_state(), "device": describe_device(parts.backbone.device)})
    print(json.dumps(told, indent=2))


def _h(parts: Any, batch: Any, kept: Any, scope: str) -> torch.Tensor:  # noqa: ANN401
    with record_hspace(parts.backbone.unet) as states:
        if kept is None:
            parts.backbone.predict(batch.latents, batch.timesteps, batch.embeds)
        else:
            with suppress_cross_attention(parts.backbone.unet, kept, scope):
                parts.backbone.predict(batch.latents, batch.timesteps, batch.embeds)
    return states[0].float()


def _means(some: list[tuple[float, bool]]) -> dict[str, float]:
    def mean(values: list[float]) -> float:
        return round(sum(values) / len(values), 4)

    late, early = ([share for share, is_late in some if is_late is which] for which in (True, False))
    return {"all t": mean(late + early), f"t >= {LATE}": mean(late), f"t < {LATE}": mean(early), "rows": len(some)}


if __name__ == "__main__":
    main()
