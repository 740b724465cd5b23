"""SAM prompted by heat: geometry, the same masks as SamPredictor alone, and clear errors."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import Sam
from torchvision.ops import masks_to_boxes

from hspace_exp.avatars import EMBEDDED
from hspace_exp.config.checks import check_targets
from hspace_exp.errors import UserError
from hspace_exp.masks.attention import normalise
from hspace_exp.masks.sam import SamMasks, build_small_sam, heat_points, load_sam, segment

TINY = {
    "image_size": 32,
    "patch_size": 8,
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
    "global_attn_indexes": [1],
    "window_size": 2,
    "prompt_dim": 32,
    "mlp_dim": 32,
}


@pytest.fixture(scope="module")
def sam() -> Sam:
    torch.manual_seed(0)
    return build_small_sam(TINY).eval().requires_grad_(False)


def test_points_are_peaks_apart_from_each_other() -> None:
    heat = torch.rand(1, 1, 16, 16) * 0.1
    heat[0, 0, 2, 3], heat[0, 0, 2, 4], heat[0, 0, 12, 9] = 1.0, 0.9, 0.8
    assert heat_points(heat, 2, radius=4).tolist() == [[[3, 2], [9, 12]]]
    assert heat_points(heat, 3, radius=100).tolist() == [[[3, 2]] * 3]


def test_points_of_wide_heat_are_columns_and_rows_and_may_lie_just_at_the_radius() -> None:
    heat = torch.zeros(2, 1, 5, 9)
    heat[0, 0, 4, 1], heat[0, 0, 4, 3], heat[0, 0, 4, 4] = 1.0, 0.9, 0.8
    heat[1, 0, 0, 8], heat[1, 0, 3, 8], heat[1, 0, 2, 8] = 1.0, 0.8, 0.9
    assert heat_points(heat, 2, radius=2).tolist() == [[[1, 4], [3, 4]], [[8, 0], [8, 2]]]
    assert heat_points(heat, 2, radius=3).tolist() == [[[1, 4], [4, 4]], [[8, 0], [8, 3]]]


@pytest.mark.parametrize("box", [None, 0.6])
@pytest.mark.parametrize("points", [0, 2])
def test_the_provider_prompts_with_what_the_heat_shows(sam: Sam, box: float | None, points: int) -> None:
    if box is None and points == 0:
        return
    random = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (3, 24, 32, 3), dtype=torch.uint8, generator=random)
    heat = torch.rand(3, 1, 24, 32, generator=random)
    provider = SamMasks("unread", box_threshold=box, points=points, point_distance=0.25, multimask=False, batch_size=2)
    provider.sam = sam
    scaled = normalise(heat)
    boxes = None if box is None else masks_to_boxes(scaled[:, 0] >= box)
    some = heat_points(scaled, points, 8.0) if points else None  # a quarter of the longer side
    expected = segment(sam, images, boxes, some, multimask=False)
    assert torch.equal(provider.maps(images, heat), expected)
    assert 0 < expected.mean() < 1


@pytest.mark.parametrize("side", [32, 48])
@pytest.mark.parametrize("multimask", [False, True])
def test_batched_segments_equal_the_predictor(sam: Sam, side: int, multimask: bool) -> None:
    images = torch.randint(0, 256, (3, side, side, 3), dtype=torch.uint8)
    boxes = torch.tensor([[2.0, 3.0, 20.0, 30.0]]).expand(3, 4)
    points = torch.tensor([[[5.0, 6.0], [9.0, 20.0]]]).expand(3, 2, 2)
    found = segment(sam, images, boxes, points, multimask=multimask)
    assert found.shape == (3, 1, side, side)
    predictor = SamPredictor(sam)
    for image, mask in zip(images, found, strict=True):
        predictor.set_image(image.numpy())
        masks, quality, _ = predictor.predict(
            points[0].numpy(), torch.ones(2).numpy(), boxes[0].numpy(), multimask_output=multimask
        )
        assert (torch.from_numpy(masks[quality.argmax()]) == mask[0].bool()).float().mean() > 0.99


def test_provider_from_a_folder(sam: Sam, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import json

    (tmp_path / "config.json").write_text(json.dumps(TINY))
    save_file(sam.state_dict(), tmp_path / "model.safetensors")
    provider = SamMasks(tmp_path, batch_size=2)
    images = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    heat = torch.rand(3, 1, 8, 8)
    maps = provider.maps(images, heat)
    assert maps.shape == (3, 1, 32, 32)
    assert set(maps.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(SamMasks(tmp_path, batch_size=1).maps(images[2:], heat[2:])[0], maps[2])
    provider.sam.mask_threshold = float("inf")
    with caplog.at_level(logging.WARNING):
        assert provider.maps(images, heat).sum() == 0
    assert "nothing in 3 of 3 images" in caplog.text


def test_bad_settings_and_files(tmp_path: Path) -> None:
    target = {"_target_": "hspace_exp.masks.sam.SamMasks"}
    check_targets({"mask": {**target, "points": 0, "box_threshold": 0.5, "batch_size": 1}})
    wrong: tuple[dict[str, Any], ...] = (
        *({"box_threshold": threshold} for threshold in (0.0, 1.0, 2.0)),
        *({"model_type": "vit_x"}, {"points": -1}, {"batch_size": 0}, {"heat": "gradient"}),
    )
    for one in wrong:
        with pytest.raises(UserError, match=rf"mask\.{next(iter(one))}=.*: expected "):
            check_targets({"mask": {**target, **one}})
    with pytest.raises(UserError, match="a box or at least one point"):
        SamMasks(tmp_path, points=0)
    with pytest.raises(UserError, match="name a whole file"):
        load_sam(tmp_path / "none.pth", "vit_b")
    with pytest.raises(UserError, match=r"cannot be had .*config\.json"):
        load_sam(tmp_path, "small")
    with pytest.raises(UserError, match="difference heatmaps, got none"):
        SamMasks(tmp_path).maps(torch.zeros(1, 32, 32, 3, dtype=torch.uint8))


def test_the_defaults_are_those_chosen_on_validation_renders(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = SamMasks()
    assert (provider.heat, provider.box_threshold, provider.points) == ("difference", None, 5)
    assert (provider.point_distance, provider.multimask, provider.batch_size) == (1 / 16, True, 8)
    assert (provider.model_type, provider.device) == ("small", "cpu")
    read = []
    monkeypatch.setattr(
        "hspace_exp.masks.sam.load_small_sam", lambda folder: read.append(folder) or torch.nn.Identity()
    )
    assert provider.sam is provider.sam
    load_sam("~/mine", "small")
    assert read == [EMBEDDED / "sam", Path.home() / "mine"]


def test_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "sam.pth")
    with pytest.raises(UserError, match=r"the vit_b of SAM in .*: name a whole file") as caught:
        load_sam(tmp_path / "sam.pth", "vit_b")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_the_published_layout_gives_maps(
    sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(sam.state_dict(), tmp_path / "sam.pth")
    monkeypatch.setitem(sam_model_registry, "vit_b", lambda: build_small_sam(TINY))
    images = torch.randint(0, 256, (2, 48, 40, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    heat = torch.rand(2, 1, 6, 5, generator=torch.Generator().manual_seed(2))
    provider = SamMasks(tmp_path / "sam.pth", model_type="vit_b", batch_size=1)
    found = provider.maps(images, heat)
    assert tuple(found.shape) == (2, 1, 48, 40)
    assert set(found.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(provider.sam.mask_decoder.mask_tokens.weight, sam.mask_decoder.mask_tokens.weight)
    assert not provider.sam.training
    assert not any(parameter.requires_grad for parameter in provider.sam.parameters())
    monkeypatch.setattr("hspace_exp.masks.sam.download", lambda **_: tmp_path / "vit_b.pth")
    torch.save(sam.state_dict(), tmp_path / "vit_b.pth")
    assert torch.equal(
        load_sam(None, "vit_b").state_dict()["mask_decoder.mask_tokens.weight"], sam.mask_decoder.mask_tokens.weight
    )


@pytest.mark.slow
def test_the_published_architecture_loads_and_masks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(sam_model_registry["vit_b"]().state_dict(), tmp_path / "sam.pth")
    provider = SamMasks(tmp_path / "sam.pth", model_type="vit_b", batch_size=1)
    found = provider.maps(torch.zeros(1, 96, 128, 3, dtype=torch.uint8), torch.rand(1, 1, 12, 16))
    assert tuple(found.shape) == (1, 1, 96, 128)
