"""Contact sheets: every tile where it should be, maps to be seen."""

import numpy as np
import torch

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


def test_overlay_is_grey_mixed_with_colour_by_the_map() -> None:
    random = np.random.default_rng(0)
    image, plane = random.integers(0, 256, (6, 5, 3), dtype=np.uint8), 0.49 * random.random((6, 5))
    grey = 0.6 * image.astype(float).mean(-1) + 80
    expected = [grey + 0.6 * plane * (c - grey) for c in COLOUR]
    assert np.abs(overlay(image, plane).astype(float) - np.stack(expected, -1)).max() <= 0.51
    plane[:, :2] = 0.5  # inside, up to the picture's edge: only its right column is a border
    shown = overlay(image, plane)
    assert (shown[:, 1] == COLOUR).all()
    assert not (shown[:, 0] == COLOUR).all(-1).any()


def test_every_tile_is_where_its_concept_and_place_say() -> None:
    side, names = 12, ["a"] * 8 + ["b"] * 3
    images = torch.arange(11, dtype=torch.uint8)[:, None, None, None].expand(-1, side, side, 3) * 10
    sheet = mask_sheet(images, torch.zeros(11, 1, side, side), names)
    step, tile = side + 4, 2 * side + 8
    assert sheet.shape == (2 * 14 + 3 * step + 4, 6 * tile + 4, 3)
    places = [(14, k) for k in range(6)] + [(14 + step, k) for k in range(2)] + [(28 + 2 * step, k) for k in range(3)]
    rest = np.ones(sheet.shape[:2], bool)
    for level, (top, column) in enumerate(places):
        left = 4 + column * tile
        assert (sheet[top : top + side, left : left + side] == 10 * level).all()
        assert (sheet[top : top + side, left + side + 1 : left + 2 * side + 1] == 80 + 6 * level).all()
        rest[top : top + side, left : left + side] = rest[top : top + side, left + side + 1 : left + 2 * side + 1] = (
            False
        )
    text = np.zeros_like(rest)
    for top in (0, 14 + 2 * step):
        text[top : top + 14, 4:] = True
        assert (sheet[top : top + 14, 4:] < 128).any()
    assert (sheet[rest & ~text] == 255).all()


def test_large_images_are_scaled_down() -> None:
    sheet = mask_sheet(torch.zeros(1, 64, 64, 3, dtype=torch.uint8), torch.zeros(1, 1, 64, 64), ["a"], side=16)
    assert sheet.shape == (14 + 20 + 4, 40 + 4, 3)
