"""The embedded world's small Segment Anything model: the original classes at 128 px."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from hspace_exp.errors import getting


def build_small_sam(config: Mapping[str, Any]) -> Sam:
    """Assemble ``segment_anything.modeling.Sam`` at a small size, with random weights.

    ``config`` is as ``avatars/weights/sam/config.json`` has it; sizes in pixels or channels.
    """
    grid = config["image_size"] // config["patch_size"]
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=config["image_size"],
            patch_size=config["patch_size"],
            embed_dim=config["embed_dim"],
            depth=config["depth"],
            num_heads=config["num_heads"],
            mlp_ratio=4,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=tuple(config["global_attn_indexes"]),
            window_size=config["window_size"],
            out_chans=config["prompt_dim"],
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=config["prompt_dim"],
            image_embedding_size=(grid, grid),
            input_image_size=(config["image_size"], config["image_size"]),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=config["prompt_dim"], mlp_dim=config["mlp_dim"], num_heads=4
            ),
            transformer_dim=config["prompt_dim"],
            iou_head_depth=3,
            iou_head_hidden_dim=config["prompt_dim"],
        ),
        pixel_mean=[127.5, 127.5, 127.5],
        pixel_std=[63.75, 63.75, 63.75],
    )


def load_small_sam(folder: str | Path) -> Sam:
    """Load ``config.json`` and ``model.safetensors`` from ``folder``; the model is frozen and in eval mode.

    Raises UserError: a file is missing or the weights do not fit the config.
    """
    folder = Path(folder)
    with getting(f"the small SAM in {folder}", "name another folder, or leave mask.checkpoint empty"):
        config = json.loads((folder / "config.json").read_text())
        sam = build_small_sam(config)
        sam.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
    return sam.eval().requires_grad_(False)
