"""The small SAM: batched decoding equals the original decoder, files round-trip, bad files are refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hspace_exp.errors import UserError
from hspace_exp.masks.small_sam import SMALL_SAM, build_small_sam, decode_masks, load_small_sam


def test_batched_decoding_equals_the_original_decoder_image_by_image() -> None:
    torch.manual_seed(0)
    sam = build_small_sam().eval()
    images = torch.randn(3, 3, 128, 128)
    boxes = torch.tensor([[4.0, 4, 60, 70], [10, 20, 90, 120], [0, 0, 30, 30]])
    with torch.no_grad():
        embeddings = sam.image_encoder(images)
        masks, quality = decode_masks(sam, embeddings, boxes=boxes)
        for i in range(3):
            sparse, dense = sam.prompt_encoder(points=None, boxes=boxes[i : i + 1], masks=None)
            own, own_quality = sam.mask_decoder.predict_masks(
                image_embeddings=embeddings[i : i + 1],
                image_pe=sam.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
            )
            torch.testing.assert_close(masks[i : i + 1], own, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(quality[i : i + 1], own_quality, rtol=1e-4, atol=1e-5)


def test_saved_weights_load_frozen_and_equal(tmp_path: Path) -> None:
    sam = build_small_sam()
    (tmp_path / "config.json").write_text(json.dumps(SMALL_SAM))
    save_file({k: v.contiguous() for k, v in sam.state_dict().items()}, tmp_path / "model.safetensors")
    loaded = load_small_sam(tmp_path)
    assert not loaded.training
    assert all(not p.requires_grad for p in loaded.parameters())
    assert all(torch.equal(loaded.state_dict()[k], v) for k, v in sam.state_dict().items())


def test_missing_and_foreign_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lacks config\.json"):
        load_small_sam(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(SMALL_SAM))
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="does not hold a small SAM"):
        load_small_sam(tmp_path)
