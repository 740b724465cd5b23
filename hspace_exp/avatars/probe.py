"""The second judge: a small supervised classifier of the embedded world's attributes, tuned on nothing else."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from hspace_exp.avatars.world import ATTRIBUTES as KNOWN
from hspace_exp.errors import getting

ATTRIBUTES = {name: KNOWN[name] for name in ("gender", "age", "skin_tone")}
ATTRIBUTES |= {"profession": KNOWN["subject"], "scene": KNOWN["scene"]}


class AttributeProbe(nn.Module):
    """Strided convolutions, mean pooling and one linear head an attribute (about 0.54 M parameters)."""

    def __init__(self, width: int = 24) -> None:
        """Build random weights; ``width`` is the number of channels at half resolution."""
        super().__init__()
        channels = [3, width, 2 * width, 4 * width, 6 * width]
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1),
                nn.GroupNorm(8, after),
                nn.SiLU(),
                nn.Conv2d(after, after, 3, padding=1),
                nn.GroupNorm(8, after),
                nn.SiLU(),
            ]
        self.trunk = nn.Sequential(*layers)
        self.spatial = nn.Conv2d(channels[-1], 16, 1)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(channels[-1] + 16 * 64, len(values)) for name, values in ATTRIBUTES.items()}
        )

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Classify (B, 3, 128, 128) images in [0, 1]; returns logits (B, number of values) for each attribute."""
        features = self.trunk(images * 2 - 1)
        pooled = torch.cat([features.mean((2, 3)), self.spatial(features).flatten(1)], dim=1)
        return {name: head(pooled) for name, head in self.heads.items()}


def load_probe(folder: str | Path) -> AttributeProbe:
    """Load ``probe.safetensors`` from ``folder``, frozen and in eval mode.

    Raises UserError: the file is missing or holds something else.
    """
    path = Path(folder) / "probe.safetensors"
    probe = AttributeProbe()
    with getting(f"the attribute probe {path}", "reinstall the package"):
        probe.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return probe.eval().requires_grad_(False)
