"""The small SAM: files round-trip, bad files are refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from avatars_world.small_sam import SMALL_SAM
from hspace_exp.errors import UserError
from hspace_exp.masks.sam import build_small_sam, load_small_sam


def test_saved_weights_load_frozen_and_equal(tmp_path: Path) -> None:
    sam = build_small_sam(SMALL_SAM)
    (tmp_path / "config.json").write_text(json.dumps(SMALL_SAM))
    save_file({k: v.contiguous() for k, v in sam.state_dict().items()}, tmp_path / "model.safetensors")
    loaded = load_small_sam(tmp_path)
    assert not loaded.training
    assert all(not p.requires_grad for p in loaded.parameters())
    assert all(torch.equal(loaded.state_dict()[k], v) for k, v in sam.state_dict().items())


def test_missing_and_foreign_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be had .*config\.json'\): name another folder"):
        load_small_sam(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(SMALL_SAM))
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="Missing key"):
        load_small_sam(tmp_path)


def test_the_layout_is_that_of_the_published_models_at_a_small_size() -> None:
    config = {**SMALL_SAM, "depth": 2, "global_attn_indexes": [1], "window_size": 3}
    sam = build_small_sam(config)
    encoder, decoder, side = sam.image_encoder, sam.mask_decoder, SMALL_SAM["image_size"]
    assert torch.equal(sam.preprocess(torch.full((1, 3, side, side), 255.0)), torch.full((1, 3, side, side), 2.0))
    assert torch.equal(sam.preprocess(torch.zeros(1, 3, side, side)), torch.full((1, 3, side, side), -2.0))
    assert [block.window_size for block in encoder.blocks] == [3, 0]
    assert all(block.norm1.eps == 1e-6 for block in encoder.blocks)
    assert all(block.attn.use_rel_pos and block.attn.qkv.bias is not None for block in encoder.blocks)
    assert all(block.attn.num_heads == SMALL_SAM["num_heads"] for block in encoder.blocks)
    assert encoder.blocks[0].mlp.lin1.out_features == 4 * SMALL_SAM["embed_dim"]
    assert encoder.img_size == side
    assert sam.prompt_encoder.input_image_size == (side, side)
    assert sam.prompt_encoder.image_embedding_size == (side // SMALL_SAM["patch_size"],) * 2
    assert sam.prompt_encoder.mask_downscaling[3].out_channels == 16
    assert (decoder.num_multimask_outputs, decoder.num_mask_tokens) == (3, 4)
    assert (decoder.iou_prediction_head.num_layers, len(decoder.transformer.layers)) == (3, 2)
    assert decoder.iou_prediction_head.layers[0].out_features == SMALL_SAM["prompt_dim"]
    assert decoder.transformer.num_heads == decoder.transformer.layers[0].self_attn.num_heads == 4
    assert decoder.transformer.mlp_dim == SMALL_SAM["mlp_dim"]
