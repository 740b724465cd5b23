"""The embedded pipeline's shapes: which standard classes, how wide, how deep, and why.

The U-Net is built so that its bottleneck matters: text enters only at the deepest encoder level and in the mid block,
never in the decoder, so what the prompt says has to travel through h. h is 8x8 like Stable Diffusion 1.x at 512 px.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avatars_world.tokenizer import MAX_LENGTH

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DDIMScheduler, PixArtTransformer2DModel, UNet2DConditionModel
    from transformers import CLIPTextModel

IMAGE_SIZE = 128
LATENT_CHANNELS = 16
LATENT_SIZE = IMAGE_SIZE // 8
TEXT_WIDTH = 192
NUM_TRAIN_TIMESTEPS = 1000


def build_vae() -> AutoencoderKL:
    """An f8 KL autoencoder, 128 px to (16, 16, 16), about 4 M parameters."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=LATENT_CHANNELS,
        block_out_channels=(32, 64, 128, 128),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=8,
        sample_size=IMAGE_SIZE,
    )


# Widths of levels and transformer layers at them, by the form of the bottleneck; ``h8`` ships, h = (192, 8, 8).
FORMS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "h8": ((96, 192), (1, 3)),
    "h4": ((96, 192, 256), (1, 1, 3)),  # h = (256, 4, 4)
    "h8_wide": ((96, 384), (1, 3)),  # h = (384, 8, 8)
}


def build_unet(form: str = "h8") -> UNet2DConditionModel:
    """The noise predictor of a form in ``FORMS``: cross-attention in the last encoder level and the mid block alone."""
    from diffusers import UNet2DConditionModel

    widths, layers = FORMS[form]
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=widths,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * (len(widths) - 1) + ("CrossAttnDownBlock2D",),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("UpBlock2D",) * len(widths),
        transformer_layers_per_block=layers,
        attention_head_dim=6,
        cross_attention_dim=TEXT_WIDTH,
        norm_num_groups=8,
        use_linear_projection=True,
    )


# Heads, their width and layers of the transformer. ``base`` has 2.77 M parameters, ``tiny`` is for rehearsals. A patch
# holds 64 numbers, and v at low noise needs them all, beside what the text adds: six layers of 160 are the widest
# stream of heads of 32 that 3 M parameters allow. Eight layers of 144 would cost a third more kernels a step.
TRANSFORMERS: dict[str, tuple[int, int, int]] = {"base": (5, 32, 6), "tiny": (2, 8, 2)}


def build_transformer(size: str = "base") -> PixArtTransformer2DModel:
    """The noise predictor without a bottleneck, of a size in ``TRANSFORMERS``: 64 tokens, text at every layer.

    A PixArt-alpha (Chen et al., 2023) with patches of 2 x 2 latents. It starts from zero: the last layer and the output
    of every cross-attention are zero, as in its released code; all else is initialised as diffusers does.
    """
    from diffusers import PixArtTransformer2DModel

    heads, width, layers = TRANSFORMERS[size]
    model = PixArtTransformer2DModel(
        sample_size=LATENT_SIZE,
        patch_size=2,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_attention_heads=heads,
        attention_head_dim=width,
        num_layers=layers,
        cross_attention_dim=heads * width,
        caption_channels=TEXT_WIDTH,
        norm_type="ada_norm_single",
        use_additional_conditions=False,
    )
    for layer in (model.proj_out, *(block.attn2.to_out[0] for block in model.transformer_blocks)):
        layer.weight.data.zero_()
        layer.bias.data.zero_()
    return model


def build_text_encoder(vocab_size: int, bos_token_id: int, eos_token_id: int) -> CLIPTextModel:
    """A three-layer CLIP text transformer over the world's own vocabulary."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocab_size,
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=6,
            max_position_embeddings=MAX_LENGTH,
            bos_token_id=bos_token_id,
            eos_token_id=eos_token_id,
            pad_token_id=eos_token_id,
        )
    )


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion's schedule rescaled to zero terminal SNR, with v-prediction.

    Implements Algorithm 1 of Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (2023). With
    v-prediction the training signal at high noise, where attributes are decided, is not vanishing.
    """
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=NUM_TRAIN_TIMESTEPS,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )
