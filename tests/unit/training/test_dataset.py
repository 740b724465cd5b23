from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from hspace_exp.masks.attention import AttentionMasks
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.training import dataset
from hspace_exp.training.dataset import attribute_maps, positives, sample_block

PROMPT = "a photo of a woman"


def test_positives_are_cached_extended_and_repaired(
    tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "BLOCK", 4)
    made = []

    def make(indices: range) -> dataset.Block:
        made.append(list(indices))
        return sample_block(tiny_backbone, Sampling(2, make_scheduler, 3), PROMPT, "woman", indices, 0)

    few = positives(tiny_backbone, tmp_path, 2, make, {})
    many = positives(tiny_backbone, tmp_path, 6, make, {})
    assert made == [[0, 1], [0, 1, 2, 3], [4, 5]]
    torch.testing.assert_close(few.latents, many.latents[:2], rtol=1e-4, atol=1e-4)
    assert many.heatmaps is not None
    assert many.heatmaps.shape[:2] == (6, 1)
    assert len(many.images) == 6
    before = many.images[5].read_bytes()
    many.images[5].write_bytes(before[:30])
    again = positives(tiny_backbone, tmp_path, 6, make, {})
    assert len(made) == 3
    assert again.images[5].read_bytes() == before
    assert torch.equal(again.latents, many.latents)


def test_maps_are_made_once(tiny_backbone: Backbone, tmp_path: Path) -> None:
    make = partial(sample_block, tiny_backbone, Sampling(2, make_scheduler), PROMPT, "woman", image_seed=0)
    found = positives(tiny_backbone, tmp_path, 3, make, {})
    path = tmp_path / "maps.safetensors"
    maps = attribute_maps(found, AttentionMasks(), path)
    assert maps.shape == (3, 1, 32, 32)
    assert maps.dtype == torch.uint8
    assert (maps.flatten(1).amax(1) == 255).all()
    stamp = path.stat().st_mtime_ns
    assert torch.equal(attribute_maps(found, AttentionMasks(), path), maps)
    assert path.stat().st_mtime_ns == stamp
