"""The small Segment Anything model as it is trained: its sizes, and decoding prompts of many images at once."""

from __future__ import annotations

from typing import Any

import torch
from segment_anything.modeling import Sam

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
