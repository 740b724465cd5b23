"""The embedded world's small Segment Anything model: the original classes at 128 px."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from hspace_exp.errors import UserError

SMALL_SAM: dict[str, Any] = {
    "image_size": 128,
    "patch_size": 8,
    "embed_dim": 128,
    "depth": 4,
    "num_heads": 4,
    "global_attn_indexes": [1, 3],
    "window_size": 8,
    "prompt_dim": 128,
    "mlp_dim": 256,
}


def build_small_sam(config: dict[str, Any] = SMALL_SAM) -> Sam:
    """Assemble ``segment_anything.modeling.Sam`` at a small size; weights are random.

    Args:
        config: the keys of ``SMALL_SAM``; sizes in pixels or channels.
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

    Raises:
        UserError: a file is missing or the weights do not fit the config.
    """
    folder = Path(folder)
    try:
        config = json.loads((folder / "config.json").read_text())
        sam = build_small_sam(config)
        sam.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
    except FileNotFoundError as error:
        raise UserError(f"SAM folder {folder} lacks {Path(error.filename).name}; reinstall the package") from error
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError(f"SAM folder {folder} does not hold a small SAM: {error}") from error
    return sam.eval().requires_grad_(False)


def decode_masks(
    sam: Sam,
    image_embeddings: torch.Tensor,
    *,
    points: torch.Tensor | None = None,
    labels: torch.Tensor | None = None,
    boxes: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Decode one prompt for each of B images in one pass (``MaskDecoder.forward`` takes many prompts of one image).

    Args:
        sam: the model; its gradients flow when enabled.
        image_embeddings: (B, C, h, w) from ``sam.image_encoder``.
        points: (B, N, 2) in input pixels (x, y), or None.
        labels: (B, N), 1 foreground, 0 background, -1 padding.
        boxes: (B, 4) in input pixels (x0, y0, x1, y1), or None.

    Returns:
        (B, 4, 4h, 4w) mask logits (first the one for clear prompts, then three alternatives), and (B, 4) rated IoU.
    """
    decoder, encoder = sam.mask_decoder, sam.prompt_encoder
    sparse, dense = encoder(points=None if points is None else (points, labels), boxes=boxes, masks=None)
    tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([tokens.unsqueeze(0).expand(sparse.shape[0], -1, -1), sparse], dim=1)
    source = image_embeddings + dense
    batch, channels, height, width = source.shape
    position = encoder.get_dense_pe().expand(batch, -1, -1, -1)
    hidden, source = decoder.transformer(source, position, tokens)
    source = decoder.output_upscaling(source.transpose(1, 2).view(batch, channels, height, width))
    mask_tokens = hidden[:, 1 : 1 + decoder.num_mask_tokens]
    weights = torch.stack([mlp(mask_tokens[:, i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=1)
    masks = torch.einsum("bkc,bchw->bkhw", weights, source)
    return masks, decoder.iou_prediction_head(hidden[:, 0])
