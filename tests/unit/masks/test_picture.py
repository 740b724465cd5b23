"""Contact sheets: every tile where it should be, maps to be seen."""

import numpy as np
import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.masks.picture import COLOUR, mask_sheet, overlay


def test_overlay_shows_the_map_and_its_border() -> None:
    image, plane = np.full((16, 16, 3), 100, np.uint8), np.zeros((16, 16))
    assert np.unique(overlay(image, plane)).tolist() == [140]
    plane[4:12, 4:12] = 1
    shown = overlay(image, plane)
    assert shown[4, 4].tolist() == list(COLOUR)
    assert shown[7, 7].tolist() == [round(140 + 0.6 * (c - 140)) for c in COLOUR]
    assert shown[2, 2].tolist() == [140] * 3


def test_sheet_has_each_image_beside_its_map() -> None:
    images = torch.stack([torch.full((20, 20, 3), 10 * i, dtype=torch.uint8) for i in range(5)])
    maps = torch.zeros(5, 1, 20, 20)
    names = ["female", "male", "female", "female", "male"]
    sheet = mask_sheet(images, maps, names, each=2)
    tile = 20 + 20 + 8
    assert sheet.shape == (2 * (14 + 24) + 4, 2 * tile + 4, 3)
    assert sheet[14 + 10, 4 + tile + 10].tolist() == [20] * 3  # the second woman; the third is left out
    assert sheet[14 + 24 + 14 + 10, 4 + tile + 10].tolist() == [40] * 3
    assert sheet[14 + 10, 4 + 21 + 10].tolist() == [80] * 3  # black, greyed
    full = mask_sheet(images, torch.full((5, 1, 20, 20), 255, dtype=torch.uint8), names, each=2)
    assert full[14 + 10, 4 + 21 + 10].tolist() == [round(80 + 0.6 * (c - 80)) for c in COLOUR]


def test_large_images_are_scaled_down() -> None:
    sheet = mask_sheet(torch.zeros(1, 64, 64, 3, dtype=torch.uint8), torch.zeros(1, 1, 64, 64), ["a"], side=16)
    assert sheet.shape == (14 + 20 + 4, 40 + 4, 3)


def test_mismatches_are_refused() -> None:
    with pytest.raises(UserError, match=r"maps \(2, 1, 8, 8\)"):
        mask_sheet(torch.zeros(2, 8, 8, 3, dtype=torch.uint8), torch.zeros(2, 8, 8), ["a", "b"])
