import torch

from avatars_world.small_sam import SMALL_SAM, decode_masks
from hspace_exp.masks.sam import build_small_sam


def test_batched_decoding_equals_the_original_decoder_image_by_image() -> None:
    torch.manual_seed(0)
    sam = build_small_sam(SMALL_SAM).eval()
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
