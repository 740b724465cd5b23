"""What every mask provider must do, and the pieces they share."""

import numpy as np
import pytest
import torch

from hspace_exp.config.checks import check_targets
from hspace_exp.errors import UserError
from hspace_exp.masks import MaskProvider
from hspace_exp.masks.attention import AttentionMasks, normalise, upsample
from hspace_exp.masks.none import NoMasks
from hspace_exp.methods.lwim import POOLS

IMAGES = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)


@pytest.mark.parametrize("provider", [NoMasks(), AttentionMasks(), AttentionMasks(0.5)])
def test_maps_have_the_contract(provider: MaskProvider) -> None:
    maps = provider.maps(IMAGES, torch.rand(2, 1, 8, 8))
    assert maps.shape == (2, 1, 32, 32)
    assert maps.dtype == torch.float32
    assert 0 <= maps.min() <= maps.max() <= 1


def test_providers_say_what_they_lack() -> None:
    with pytest.raises(UserError, match="attention heatmaps, got none"):
        AttentionMasks().maps(IMAGES)
    with pytest.raises(UserError, match="difference heatmaps, got none"):
        AttentionMasks(heat="difference").maps(IMAGES)
    for setting in ({"heat": "gradient"}, {"threshold": 1.0}, {"threshold": 0.0}):
        with pytest.raises(UserError, match=rf"mask\.{next(iter(setting))}=.*: expected "):
            check_targets({"mask": {"_target_": "hspace_exp.masks.attention.AttentionMasks", **setting}})


def test_no_masks_means_the_plain_loss() -> None:
    assert NoMasks().maps(IMAGES).sum() == 0


def test_attention_map_finds_the_blob() -> None:
    heat = torch.zeros(2, 1, 8, 8)
    heat[0, 0, 1, 6], heat[1, 0, 6, 2] = 3.0, 0.1
    maps = AttentionMasks(0.5).maps(IMAGES, heat)
    for i, (row, column) in enumerate(((1, 6), (6, 2))):
        inside = maps[i, 0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert inside.mean() > 0.5
        assert maps[i].sum() < 32


def test_normalise_ignores_scale_and_offset_and_refuses_flat_heat() -> None:
    heat = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(normalise(5 * heat + 2), normalise(heat))
    assert normalise(heat).amax() == 1
    flat = heat.clone()
    flat[1] = 0.3
    with pytest.raises(UserError, match="image 1 is flat"):
        normalise(flat)


def cubic(values: np.ndarray, size: int) -> np.ndarray:
    """Cubic convolution (Keys, 1981) of a row with a = -3/4, pixels as areas, borders repeated; by NumPy."""
    a, found = -0.75, []
    for place in (np.arange(size) + 0.5) * len(values) / size - 0.5:
        first, total = int(np.floor(place)) - 1, 0.0
        for k in range(first, first + 4):
            d = abs(place - k)
            near = (a + 2) * d**3 - (a + 3) * d**2 + 1
            weight = near if d <= 1 else a * (d**3 - 5 * d**2 + 8 * d - 4)
            total += weight * values[min(max(k, 0), len(values) - 1)]
        found.append(total)
    return np.array(found)


def test_upsample_is_cubic_convolution_clipped_to_the_range_of_each_image() -> None:
    heat = torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    heat[1] = 10 + 3 * heat[1]
    for found, plane in zip(upsample(heat, (9, 12)), heat[:, 0].numpy(), strict=True):
        wide = np.stack([cubic(row, 12) for row in plane])
        large = np.stack([cubic(column, 9) for column in wide.T]).T
        assert large.max() > plane.max()
        np.testing.assert_allclose(found[0], large.clip(plane.min(), plane.max()), atol=1e-9)


def test_heat_at_the_threshold_is_inside_and_maps_are_float32() -> None:
    heat = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    heat[..., 0, :3] = torch.tensor([0.4, 0.5, 1.0])
    images = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    assert AttentionMasks(0.5).maps(images, heat)[0, 0, 0].tolist() == [0, 1, 1, 0]
    torch.testing.assert_close(AttentionMasks().maps(images, 3 * heat - 1), heat.float())


def test_no_masks_have_the_size_of_their_images() -> None:
    assert NoMasks().maps(torch.zeros(2, 8, 6, 3, dtype=torch.uint8)).shape == (2, 1, 8, 6)


def test_upsample_stays_in_range() -> None:
    heat = torch.rand(2, 1, 4, 4)
    large = upsample(heat, (32, 32))
    assert torch.equal(large.amax((1, 2, 3)).minimum(heat.amax((1, 2, 3))), large.amax((1, 2, 3)))


def test_max_pool_keeps_thin_parts_and_repeats_upwards() -> None:
    maps = torch.zeros(1, 1, 32, 32)
    maps[0, 0, :, 9] = 1
    assert POOLS["max"](maps, (8, 8))[0, 0].sum(0).tolist() == [0, 0, 8, 0, 0, 0, 0, 0]
    assert torch.equal(POOLS["max"](maps, (32, 32)), maps)
    small = torch.arange(4.0).reshape(1, 1, 2, 2)
    assert torch.equal(POOLS["max"](small, (4, 4)), small.repeat_interleave(2, 2).repeat_interleave(2, 3))
