"""Geometry of SAM's prompts against hand-worked cases."""

import torch

from avatars_world.train.sam import box_iou, boxes_of, iou, part_masks, points_in


def test_boxes_hug_their_masks_and_empty_masks_have_none() -> None:
    masks = torch.zeros(2, 16, 16, dtype=torch.bool)
    masks[0, 3:7, 5:12] = True
    assert boxes_of(masks).tolist() == [[5.0, 3.0, 12.0, 7.0], [0.0, 0.0, 0.0, 0.0]]


def test_points_lie_in_their_masks() -> None:
    masks = torch.zeros(1, 16, 16, dtype=torch.bool)
    masks[0, 3:7, 5:12] = True
    points = points_in(masks, 20)[0].long()
    assert masks[0, points[:, 1], points[:, 0]].all()


def test_overlaps_by_hand() -> None:
    one, other = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[2.0, 0, 6, 4]])
    assert torch.allclose(box_iou(one, other), torch.tensor([8 / 24]))
    a, b = torch.zeros(1, 4, 4, dtype=torch.bool), torch.zeros(1, 4, 4, dtype=torch.bool)
    assert iou(a, b).tolist() == [1.0]
    a[0, :2], b[0, 1:3] = True, True
    assert torch.allclose(iou(a, b), torch.tensor([4 / 12]))


def test_parts_are_read_from_their_bits() -> None:
    parts = torch.tensor([[[0b01, 0b10], [0b11, 0b00]]], dtype=torch.uint8)
    assert part_masks(parts, torch.tensor([0])).tolist() == [[[True, False], [True, False]]]
    assert part_masks(parts, torch.tensor([1])).tolist() == [[[False, True], [True, False]]]
