"""A frozen text-to-image pipeline: load it, encode prompts and images, predict noise."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from hspace_exp.config.schema import Scale
from hspace_exp.errors import UserError
from hspace_exp.io.digest import fingerprint
from hspace_exp.models import loading
from hspace_exp.models.blocks import checkpoint_second_half, compile_blocks
from hspace_exp.models.devices import resolve_device
from hspace_exp.models.families import family_of, predict, texts_of
from hspace_exp.models.hspace import edit_hspace
from hspace_exp.models.noising import Diffusion, Flow, is_flow
from hspace_exp.models.prompts import PromptEmbeds, PromptEncoder
from hspace_exp.models.sites import MID_BLOCK, Site, is_transformer, site_of

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, SchedulerMixin, UNet2DConditionModel

GUIDANCE_SCALES = {"sd": 7.5, "sdxl": 5.0, "t5": 4.5, "sd3": 7.0, "gemma": 4.5, "flux": 3.5}
# Smaller U-Nets than this run in float32 also on a GPU: they are fast enough, and exact.
SMALL_UNET = 100_000_000
# Rows of a pass without gradients, and of a small U-Net's on a GPU.
ROWS, ROWS_OF_SMALL_UNET = 64, 512
# The VAE works on at most so many pixels at once, in float32, but on one image at least: some 4 GB for one of 1,024 px,
# 2 GB for two of 512 px. More at once would be no faster, and more than the U-Net takes.
VAE_PIXELS = 2**19


def freeze(module: nn.Module) -> nn.Module:
    """Switch off gradients and dropout for good: ``module.train()`` no longer does anything."""
    module.requires_grad_(False).eval()
    module.train = types.MethodType(lambda own, mode=True: own, module)  # type: ignore[method-assign]
    return module


class Backbone:
    """A frozen latent diffusion model: Stable Diffusion 1.x/2.x/3, SDXL, PixArt, SANA or FLUX.

    Not an ``nn.Module`` on purpose: a LightningModule that holds one neither trains, moves nor checkpoints it.
    The VAE stays in float32, whatever the type of the U-Net.

    Attributes:
        unet, vae, scheduler: the diffusers parts; of a transformer ``unet`` is that.
        family: of its text encoders, ``sd``, ``sdxl``, ``t5``, ``sd3``, ``gemma`` or ``flux``.
        name, revision: which weights these are; they go into every concept file.
        image_size: side of the images, in pixels.
        latent_shape: (C, H, W) of the latents.
        guidance_scale: the scale that the model is meant to be sampled with.
        embeds_guidance: whether that is an input of the model, as in FLUX, and not what two predictions are joined by.
        micro_batch_size: that training differentiates at a time; None: a whole batch.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        prompt_encoder: PromptEncoder,
        scheduler: SchedulerMixin,
        *,
        name: str = "model",
        revision: str = "local",
        guidance_scale: float | None = None,
        image_size: int | None = None,
        checkpointing: bool = False,
        micro_batch_size: int | None = None,
        site: str | None = None,
        frozen: bool = True,
    ) -> None:
        """Put loaded parts together and freeze them, unless told; see ``load_backbone`` for loading."""
        self.is_transformer = is_transformer(unet)
        if not self.is_transformer and getattr(unet, "mid_block", None) is None:
            raise UserError("expected a U-Net with a middle block (its output is h), got one without")
        # diffusers' classes hide their attributes from type checkers, hence Any.
        self.unet, self.vae, self.scheduler = cast(Any, unet), cast(Any, vae), cast(Any, scheduler)
        self.prompt_encoder = prompt_encoder
        self.family, self.name, self.revision = prompt_encoder.family, name, revision
        self.micro_batch_size = micro_batch_size
        for module in (self.unet, self.vae, *prompt_encoder.text_encoders) if frozen else ():
            freeze(module)
        if checkpointing:
            checkpoint_second_half(self.unet)
        self._site = site
        levels = getattr(self.vae.config, "block_out_channels", None) or self.vae.config.encoder_block_out_channels
        self.vae_scale = 2 ** (len(levels) - 1)
        self._vae_shift = getattr(self.vae.config, "shift_factor", None) or 0.0  # mean of latents that are not scaled
        family = family_of(unet)
        self.embeds_guidance, self._packs = family.flux, 2 if family.flux else 1
        side = getattr(self.unet.config, "sample_size", 128)  # FLUX's file does not say
        height, width = (side, side) if isinstance(side, int) else side
        if image_size is not None:
            least = self.vae_scale * self._packs
            if image_size <= 0 or image_size % least:
                raise UserError(f"image_size must be a positive multiple of {least}, got {image_size}")
            height = width = image_size // self.vae_scale
        self.latent_shape = (int(self.unet.config.in_channels) // self._packs**2, int(height), int(width))
        self.image_size = int(height) * self.vae_scale
        self.guidance_scale = GUIDANCE_SCALES[self.family] if guidance_scale is None else float(guidance_scale)
        self.num_train_timesteps = int(self.scheduler.config.num_train_timesteps)
        self.noising = Flow(scheduler, self._grid, family.flux) if is_flow(scheduler) else Diffusion(scheduler)
        self.prediction_type = self.noising.prediction_type
        self.add_noise, self.training_target = self.noising.add, self.noising.target
        self.noise_prediction = self.noising.noise
        if frozen:
            self.site  # noqa: B018 (refuses what is none of this model's)

    @property
    def device(self) -> torch.device:
        """Where the U-Net is."""
        return next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The number type that the U-Net computes in."""
        return next(self.unet.parameters()).dtype

    @cached_property
    def small(self) -> bool:
        """Whether a GPU is done with a few rows before the next kernel is launched, so that many should go together."""
        return sum(p.numel() for p in self.unet.parameters()) < SMALL_UNET

    @property
    def rows_without_gradient(self) -> int:
        """Rows of a pass that keeps no activations; with ``micro_batch_size`` at most twice as many as that."""
        many = self.small and self.device.type != "cpu"
        usual = ROWS_OF_SMALL_UNET if many else ROWS
        return usual if self.micro_batch_size is None else min(usual, 2 * self.micro_batch_size)

    def to(self, device: torch.device | str) -> Backbone:
        """Move every part; cached prompts are forgotten."""
        for module in (self.unet, self.vae, *self.prompt_encoder.text_encoders):
            module.to(device)
        self.prompt_encoder.clear()
        return self

    @cached_property
    def site(self) -> Site:
        """Where vectors act. Raises UserError: the model has no such site."""
        if self.is_transformer:
            return site_of(self.unet, self._grid, self._site)
        if self._site not in (None, MID_BLOCK.name):
            raise UserError(f"a U-Net's only site is {MID_BLOCK.name}, got {self._site!r}")
        return MID_BLOCK

    @property
    def _grid(self) -> tuple[int, int]:
        """(height, width) of a transformer's tokens."""
        patch = self.unet.config.patch_size * self._packs
        return self.latent_shape[1] // patch, self.latent_shape[2] // patch

    @cached_property
    def h_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of h: in a U-Net blocks before it halve the latents, and round up."""
        if self.is_transformer:
            return sum(self.site.widths), *self.site.grid
        _, height, width = self.latent_shape
        for block in self.unet.down_blocks:
            if block.downsamplers is not None:
                height, width = -(-height // 2), -(-width // 2)
        return int(self.unet.config.block_out_channels[-1]), height, width

    def encode_prompts(self, prompts: Sequence[str]) -> PromptEmbeds:
        """Encode prompts ("" is the unconditional one); each is encoded once and kept.

        Raises UserError: a prompt is longer than the tokenizer takes.
        """
        embeds = self.prompt_encoder(prompts)
        if self.family != "sdxl":
            return embeds
        side = float(self.image_size)
        time_ids = torch.tensor([[side, side, 0.0, 0.0, side, side]], device=self.device).expand(len(embeds), -1)
        return replace(embeds, time_ids=time_ids)

    def word_mask(self, prompt: str, words: str) -> Tensor:
        """(L,) bool on the model's device: the tokens of ``words`` in ``prompt``."""
        return self.prompt_encoder.word_mask(prompt, words).to(self.device)

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [0, 1] to scaled latents (B, C, H, W), the mode of the VAE's posterior."""
        side = self.image_size
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, side, side):
            raise UserError(f"expected images of shape (B, 3, {side}, {side}), got {tuple(images.shape)}: resize them")
        found = []
        for some in images.split(self._vae_rows):
            encoded = self.vae.encode(some.to(self.vae.device, torch.float32) * 2 - 1)
            found.append(encoded.latent if hasattr(encoded, "latent") else encoded.latent_dist.mode())
        return (torch.cat(found) - self._vae_shift) * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> Tensor:
        """Scaled latents (B, C, H, W) to float32 images (B, 3, S, S) in [0, 1]."""
        latents = latents.to(self.vae.device, torch.float32) / self.vae.config.scaling_factor + self._vae_shift
        found = [(self.vae.decode(some).sample / 2 + 0.5).clamp(0, 1) for some in latents.split(self._vae_rows)]
        return torch.cat(found)

    @property
    def _vae_rows(self) -> int:
        """Images that the VAE takes at once."""
        return max(1, VAE_PIXELS // self.image_size**2)

    def context(self, states: Tensor) -> Tensor:
        """What cross-attention reads of text features (B, L, D): themselves, but in a transformer projected."""
        for name in ("caption_projection", "caption_norm"):
            module = getattr(self.unet, name, None)
            states = states if module is None else module(states.to(self.dtype))
        return states

    @contextmanager
    def edited(self, edit: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
        """``edit_hspace`` of this model, at its site."""
        with edit_hspace(self.unet, edit, self.site):
            yield

    def predict(self, latents: Tensor, t: Tensor | int, embeds: PromptEmbeds, scale: float | None = None) -> Tensor:
        """The U-Net's output (B, C, H, W) in float32, in the model's own ``prediction_type``, under B prompts.

        Latents (B, C, H, W) are scaled as the scheduler wants its model input; timesteps are (B,) or scalar. The
        guidance ``scale``, by default the model's own, counts where the model ``embeds_guidance``.
        """
        timesteps = torch.as_tensor(t, device=self.device).expand(latents.shape[0])
        given, scale = latents.to(self.device, self.dtype), self.guidance_scale if scale is None else scale
        return predict(self.unet, given, timesteps, embeds, self.image_size, scale).float()


def load_backbone(
    source: Path | str,
    *,
    path: Path | str | None = None,  # a folder that holds what ``source`` names, for machines without a network
    revision: str | None = None,  # the hub's branch, tag or commit
    variant: str | None = None,  # of weights such as ``fp16``, where there are such files
    device: str = "auto",  # CUDA, then MPS, then CPU; or any torch device
    # of the U-Net; ``auto`` is float32, but bfloat16 above 100 M parameters on CUDA
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    name: str | None = None,  # what to call the model; the folder's or the hub's name by default
    guidance_scale: Scale | None = None,  # the model's usual one; its family's by default
    image_size: PositiveInt | None = None,  # side of the images in pixels; the U-Net's native one by default
    checkpointing: bool = False,  # whether training computes activations behind h twice instead of keeping them
    compile: bool = False,  # whether the U-Net's blocks are compiled, see ``compile_blocks``
    # of a training batch, whose memory they bound, see ``losses_of``; None: all
    micro_batch_size: PositiveInt | None = None,
    # ``unet`` or ``transformer``, of a folder that holds both; by default as its index says
    network: str | None = None,
    # where vectors act in a transformer, ``block:4``, ``heads:4`` or ``heads:2+4``, see ``Site``; None: middle block
    site: str | None = None,
) -> Backbone:
    """Load a Stable Diffusion 1.x/2.x/3, SDXL, PixArt, SANA or FLUX pipeline and freeze it.

    The ``source`` is a folder in diffusers layout, or a hub id such as ``CompVis/stable-diffusion-v1-4``. Raises
    UserError: weights are missing, damaged, of another kind, or the hub cannot be reached.
    """
    where = resolve_device(device)
    folder, called, found = loading.find_folder(source if path is None else Path(path), revision, variant, network)
    if dtype == "auto":
        big = where.type == "cuda" and loading.count_parameters(folder, network) > SMALL_UNET
        dtype = "bfloat16" if big else "float32"
    backbone = Backbone(
        **loading.load_parts(folder, variant, getattr(torch, dtype), network),
        name=name or called,
        revision=found,
        guidance_scale=guidance_scale,
        image_size=image_size,
        checkpointing=checkpointing,
        micro_batch_size=micro_batch_size,
        site=site,
    ).to(where)
    if compile:
        compile_blocks(backbone.unet)
    return backbone


def backbone_of(pipe: Any, guidance_scale: float | None = None, site: str | None = None) -> Backbone:  # noqa: ANN401
    """The frozen model in a diffusers pipeline of a family that is known, e.g. ``StableDiffusionPipeline``.

    Its networks are shared, on their device and in their type, and frozen; a VAE in 16 bits is copied to float32. The
    scale of guidance is by default that of its family, the site its middle. Raises UserError: it is another kind of
    pipeline, or has no such site.
    """
    loading.text_parts(type(pipe).__name__)  # refuses other kinds
    vae = pipe.vae if pipe.vae.dtype == torch.float32 else copy.deepcopy(pipe.vae).float()
    place = Path(str(pipe.name_or_path or "model"))
    part = _part_of(pipe)
    local = (place / part).is_dir()
    return Backbone(
        getattr(pipe, part),
        vae,
        _prompt_encoder(pipe),
        pipe.scheduler,
        name=place.name if local else str(place),
        revision=fingerprint(place / part) if local else "unknown",
        guidance_scale=guidance_scale,
        site=site,
    )


def network_of(pipe: Any) -> Any:  # noqa: ANN401 (diffusers' pipelines)
    """The network of a pipeline that predicts noise: its U-Net or transformer."""
    return getattr(pipe, _part_of(pipe))


def _part_of(pipe: Any) -> str:
    return "unet" if getattr(pipe, "unet", None) is not None else "transformer"


def _prompt_encoder(pipe: Any) -> PromptEncoder:
    """Of the text encoders that a pipeline has. Raises UserError: it lacks one that it needs."""
    ends = [end for end in loading.ENDS if getattr(pipe, f"text_encoder{end}", None) is not None]
    name = type(pipe).__name__
    if not {end for end in loading.PIPELINES.get(name, ("",)) if end != "_3"} <= set(ends):  # SD3 may lack T5
        raise UserError("the pipeline lacks a text encoder: load it with all of its parts")
    tokenizers, encoders = ([getattr(pipe, part + end) for end in ends] for part in ("tokenizer", "text_encoder"))
    zeros = pipe.config.get("force_zeros_for_empty_prompt")
    return PromptEncoder(tokenizers, encoders, zeros, loading.MOST_TOKENS.get(name), **texts_of(network_of(pipe)))


class PipelineModel(Backbone):
    """The model in a diffusers pipeline of any kind, left as it is, for latents (rows, C, H, W) that its U-Net gets.

    Raises UserError: it lacks a part, or its scheduler has no discrete noise schedule.
    """

    def __init__(self, pipe: Any, sample: Tensor, site: str | None = None) -> None:
        """Take the pipeline's parts, the size of the latents, and where vectors act."""
        encoder, name = _prompt_encoder(pipe), str(pipe.name_or_path or type(pipe).__name__)
        super().__init__(network_of(pipe), pipe.vae, encoder, pipe.scheduler, name=name, site=site, frozen=False)
        self.sample, self.latent_shape = sample, (self.latent_shape[0], *sample.shape[-2:])

    @property
    def device(self) -> torch.device:
        """Where the U-Net is called, which is not where an offloaded one rests."""
        return self.sample.device
