"""Shapes of the published pipelines as their config files give them, for estimates and for pipelines of random weights.

Values are those of the ``config.json`` files of the repositories that conf/model names; tests hold the numbers of
parameters against the published ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

_SCHEDULE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "steps_offset": 1,
}
_SD_UNET: dict[str, Any] = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "norm_num_groups": 32,
}
_VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 512,
    "scaling_factor": 0.18215,
}
_VAE_16: dict[str, Any] = {
    **_VAE,
    "latent_channels": 16,
    "sample_size": 1024,
    "force_upcast": True,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
_CLIP_L: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
    "max_position_embeddings": 77,
    "vocab_size": 49408,
}
_CLIP_H: dict[str, Any] = {
    **_CLIP_L,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,  # the last layer left out: the penultimate one is what the U-Net was trained with
    "num_attention_heads": 16,
    "hidden_act": "gelu",
    "projection_dim": 512,
}
_CLIP_G: dict[str, Any] = {
    **_CLIP_L,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
    "projection_dim": 1280,
}


_T5_XXL: dict[str, Any] = {
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
    "vocab_size": 32128,
}


_GEMMA_2B: dict[str, Any] = {
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "vocab_size": 256_000,
}


@dataclass(frozen=True)
class Layout:
    """A family of pipelines.

    Attributes:
        pipeline: diffusers' class.
        unet: arguments of ``UNet2DConditionModel``, or of the transformer that ``network`` names.
        vae: arguments of ``AutoencoderKL``, or of what ``autoencoder`` names.
        texts: arguments of each ``CLIPTextConfig``, or T5's, which have ``d_model``, or Gemma 2's, ``head_dim``.
        scheduler: diffusers' class and its arguments.
        pads: token that each tokenizer pads with; None is the end token.
        network: diffusers' class of the network that predicts noise.
        autoencoder: diffusers' class of the autoencoder.
        projected: whether each CLIP has a projection.
    """

    pipeline: str
    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    texts: tuple[Mapping[str, Any], ...]
    scheduler: tuple[str, Mapping[str, Any]]
    pads: tuple[str | None, ...] = field(default=(None,))
    network: str = "UNet2DConditionModel"
    autoencoder: str = "AutoencoderKL"
    projected: tuple[bool, ...] = (False, True)

    @property
    def is_transformer(self) -> bool:
        """Whether the network that predicts noise is a transformer, not a U-Net."""
        return self.network != "UNet2DConditionModel"

    @property
    def image_size(self) -> int:
        """Side of the images, in pixels."""
        levels = self.vae.get("block_out_channels") or self.vae["encoder_block_out_channels"]
        return int(self.unet.get("sample_size", 128)) * 2 ** (len(levels) - 1)


_SD1 = Layout(
    "StableDiffusionPipeline",
    _SD_UNET,
    _VAE,
    (_CLIP_L,),
    ("PNDMScheduler", {**_SCHEDULE, "set_alpha_to_one": False, "skip_prk_steps": True}),
)
LAYOUTS: dict[str, Layout] = {
    "sd14": _SD1,
    "sd15": _SD1,
    "sd21": Layout(
        "StableDiffusionPipeline",
        {
            **_SD_UNET,
            "sample_size": 96,
            "cross_attention_dim": 1024,
            "attention_head_dim": (5, 10, 20, 20),
            "use_linear_projection": True,
            "upcast_attention": True,
        },
        {**_VAE, "sample_size": 768},
        (_CLIP_H,),
        (
            "DDIMScheduler",
            {**_SCHEDULE, "prediction_type": "v_prediction", "clip_sample": False, "set_alpha_to_one": False},
        ),
        ("!",),
    ),
    "sdxl": Layout(
        "StableDiffusionXLPipeline",
        {
            **_SD_UNET,
            "sample_size": 128,
            "block_out_channels": (320, 640, 1280),
            "down_block_types": ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 2,
            "up_block_types": ("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",),
            "transformer_layers_per_block": (1, 2, 10),
            "attention_head_dim": (5, 10, 20),
            "cross_attention_dim": 2048,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
        {**_VAE, "sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True},
        (_CLIP_L, _CLIP_G),
        ("EulerDiscreteScheduler", {**_SCHEDULE, "timestep_spacing": "leading"}),
        (None, "!"),
    ),
    "pixart": Layout(
        "PixArtAlphaPipeline",
        {
            "sample_size": 64,
            "patch_size": 2,
            "in_channels": 4,
            "out_channels": 8,
            "num_layers": 28,
            "num_attention_heads": 16,
            "attention_head_dim": 72,
            "cross_attention_dim": 1152,
            "caption_channels": 4096,
            "norm_type": "ada_norm_single",
        },
        _VAE,
        (_T5_XXL,),
        (
            "DPMSolverMultistepScheduler",
            {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "num_train_timesteps": 1000},
        ),
        network="PixArtTransformer2DModel",
    ),
    "sd3": Layout(
        "StableDiffusion3Pipeline",
        {
            "sample_size": 128,
            "patch_size": 2,
            "in_channels": 16,
            "out_channels": 16,
            "num_layers": 24,
            "num_attention_heads": 24,
            "attention_head_dim": 64,
            "joint_attention_dim": 4096,
            "caption_projection_dim": 1536,
            "pooled_projection_dim": 2048,
            "pos_embed_max_size": 192,
        },
        {**_VAE_16, "scaling_factor": 1.5305, "shift_factor": 0.0609},
        (_CLIP_L, _CLIP_G, _T5_XXL),
        ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0, "num_train_timesteps": 1000}),
        (None, "!", None),
        network="SD3Transformer2DModel",
        projected=(True, True),
    ),
    "sana": Layout(
        "SanaPipeline",
        {
            "sample_size": 32,
            "patch_size": 1,
            "in_channels": 32,
            "out_channels": 32,
            "num_layers": 20,
            "num_attention_heads": 70,
            "attention_head_dim": 32,
            "num_cross_attention_heads": 20,
            "cross_attention_head_dim": 112,
            "cross_attention_dim": 2240,
            "caption_channels": 2304,
            "mlp_ratio": 2.5,
        },
        {
            "latent_channels": 32,
            "attention_head_dim": 32,
            "encoder_block_types": ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3,
            "decoder_block_types": ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3,
            "encoder_block_out_channels": (128, 256, 512, 512, 1024, 1024),
            "decoder_block_out_channels": (128, 256, 512, 512, 1024, 1024),
            "encoder_layers_per_block": (2, 2, 2, 3, 3, 3),
            "decoder_layers_per_block": (3,) * 6,
            "encoder_qkv_multiscales": ((), (), (), (5,), (5,), (5,)),
            "decoder_qkv_multiscales": ((), (), (), (5,), (5,), (5,)),
            "upsample_block_type": "interpolate",
            "downsample_block_type": "conv",
            "scaling_factor": 0.41407,
        },
        (_GEMMA_2B,),
        (
            "DPMSolverMultistepScheduler",
            {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0},
        ),
        network="SanaTransformer2DModel",
        autoencoder="AutoencoderDC",
    ),
    "flux": Layout(
        "FluxPipeline",
        {
            "patch_size": 1,
            "in_channels": 64,
            "num_layers": 19,
            "num_single_layers": 38,
            "num_attention_heads": 24,
            "attention_head_dim": 128,
            "joint_attention_dim": 4096,
            "pooled_projection_dim": 768,
            "guidance_embeds": True,
            "axes_dims_rope": (16, 56, 56),
        },
        {**_VAE_16, "scaling_factor": 0.3611, "shift_factor": 0.1159},
        (_CLIP_L, _T5_XXL),
        ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0, "use_dynamic_shifting": True}),
        (None, None),
        network="FluxTransformer2DModel",
    ),
}
# Of transformers, at tiny width: what the text encoders' widths of 16 and 24 make, with 4 blocks of 2 heads.
_TINY: dict[str, dict[str, Any]] = {
    "PixArtTransformer2DModel": {"cross_attention_dim": 16, "caption_channels": 16, "sample_size": 16},
    "SD3Transformer2DModel": {
        "sample_size": 16,
        "joint_attention_dim": 48,
        "caption_projection_dim": 16,
        "pooled_projection_dim": 40,
        "pos_embed_max_size": 24,
    },
    "SanaTransformer2DModel": {
        "num_cross_attention_heads": 2,
        "cross_attention_head_dim": 8,
        "cross_attention_dim": 16,
        "caption_channels": 16,
        "sample_size": 4,
    },
    "FluxTransformer2DModel": {
        "num_single_layers": 2,
        "attention_head_dim": 16,
        "axes_dims_rope": (4, 6, 6),
        "joint_attention_dim": 24,
        "pooled_projection_dim": 16,
    },
}


def tiny(layout: Layout) -> Layout:
    """The same blocks at widths that a CPU runs in milliseconds: images of 128 px, h of 2 x 2 (4 x 4 for SDXL)."""
    vae = {**layout.vae, "block_out_channels": (8,) * 4, "norm_num_groups": 4, "sample_size": 128}
    if layout.autoencoder == "AutoencoderDC":
        levels = (8, 8, 8, 16, 16, 32)
        vae = {**layout.vae, "encoder_block_out_channels": levels, "decoder_block_out_channels": levels}
        vae |= {"attention_head_dim": 8, "encoder_layers_per_block": (1,) * 6, "decoder_layers_per_block": (1,) * 6}
    texts = _tiny_texts(layout)
    if layout.is_transformer:
        small = {"num_layers": 4, "num_attention_heads": 2, "attention_head_dim": 8}
        return replace(layout, unet={**layout.unet, **small, **_TINY[layout.network]}, vae=vae, texts=texts)
    count = len(layout.unet["block_out_channels"])
    heads = layout.unet["attention_head_dim"]
    width = sum(text["hidden_size"] for text in texts)
    unet = {
        **layout.unet,
        "sample_size": 16,
        "block_out_channels": (8, 16, 32, 32)[:count],
        "attention_head_dim": 2 if isinstance(heads, int) else (1, 2, 4, 4)[:count],
        "cross_attention_dim": width,
        "norm_num_groups": 4,
    }
    if len(texts) > 1:
        unet |= {
            "transformer_layers_per_block": (1, 2, 3),
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": texts[-1]["projection_dim"] + 6 * 8,
        }
    return replace(layout, unet=unet, vae=vae, texts=texts)


def _tiny_texts(layout: Layout) -> tuple[Mapping[str, Any], ...]:
    """CLIPs of width 16 and 24; Gemma or T5 of width 16, or 48 beside CLIPs, whose features are padded to it."""
    found: list[Mapping[str, Any]] = []
    for text, width in zip(layout.texts, (16, 24, 48), strict=False):
        if "d_model" in text:
            small = {"d_model": width, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
        elif "head_dim" in text:
            small = {"hidden_size": width, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 8}
            small |= {"num_attention_heads": 2, "num_key_value_heads": 1}
        else:
            small = {"hidden_size": width, "intermediate_size": 2 * width, "projection_dim": width}
            small |= {"num_hidden_layers": 3, "num_attention_heads": 2}
        found.append({**text, **small})
    return tuple(found)
