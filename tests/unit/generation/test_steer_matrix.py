"""Pipelines x schedulers x options: which calls of the U-Net ``steer`` edits, by how much, or what it says instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor, nn

from benchmarks.recording import record_hspace
from hspace_exp import Concept, steer
from hspace_exp.errors import UserError

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

PROMPTS = ["a photo of a doctor", "a photo of a nurse"]
SIDE = {"height": 32, "width": 32}
VECTOR = 5 * torch.randn(16, 1, 1, generator=torch.Generator().manual_seed(0))
IMAGE = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
MASK = torch.zeros(1, 1, 32, 32)
MASK[..., 8:] = 1
Call = Callable[..., Any]


def concept(name: str = "female", method: str = "sdid", **more: Any) -> Concept:
    words = {"positive": f"a photo of a {name} person", "neutral": "a photo of a person", "words": name}
    used = {"branch": "conditional"}
    return Concept(VECTOR, name, "gender", "tiny", "abc", (16, 4, 4), method, words, used, **more)


@pytest.fixture(scope="module")
def sd(tiny_epsilon_folder: Path) -> Any:
    return quiet(diffusers.DiffusionPipeline.from_pretrained(tiny_epsilon_folder))


@pytest.fixture(scope="module")
def xl(tiny_sdxl_folder: Path) -> Any:
    return quiet(diffusers.DiffusionPipeline.from_pretrained(tiny_sdxl_folder))


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def variant(pipe: Any, name: str) -> Any:
    """Another pipeline of the same parts; a ControlNet of three channel counts halves the image as this VAE does."""
    more = {}
    if "ControlNet" in name:
        torch.manual_seed(0)
        net = diffusers.ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(4, 4, 4))
        more = {"controlnet": net.eval()}
    return quiet(getattr(diffusers, name).from_pipe(pipe, **more))


def scheduled(pipe: Any, name: str, **more: Any) -> Any:
    return quiet(
        type(pipe)(
            **{**pipe.components, "scheduler": getattr(diffusers, name).from_config(pipe.scheduler.config, **more)},
            **UNCHECKED,
        )
    )


UNCHECKED = {"requires_safety_checker": False}


def with_lora(pipe: Any, fused: bool) -> Any:
    """Low-rank terms beside every projection of queries, as their libraries add them, or added to its weights."""
    pipe = quiet(diffusers.DiffusionPipeline.from_pretrained(pipe.name_or_path))
    random = torch.Generator().manual_seed(0)
    for module in pipe.unet.modules():
        if isinstance(getattr(module, "to_q", None), nn.Linear):
            low = module.to_q.weight.new_empty(module.to_q.weight.shape).normal_(generator=random)
            if fused:
                module.to_q.weight.data += low
            else:
                module.to_q = Lora(module.to_q, low)
    return pipe


class Lora(nn.Module):
    """A linear layer with another beside it."""

    def __init__(self, base: nn.Linear, low: Tensor) -> None:
        """Beside ``base``."""
        super().__init__()
        self.base, self.low = base, nn.Parameter(low)

    def forward(self, x: Tensor) -> Tensor:
        """Both."""
        return self.base(x) + x @ self.low.T


def offloaded(pipe: Any) -> Any:
    pytest.importorskip("accelerate")
    pipe = quiet(diffusers.DiffusionPipeline.from_pretrained(pipe.name_or_path))
    pipe.enable_model_cpu_offload(device="cpu")
    return pipe


def sliced(pipe: Any) -> Any:
    pipe = quiet(diffusers.DiffusionPipeline.from_pretrained(pipe.name_or_path))
    pipe.enable_attention_slicing(1)
    pipe.vae.enable_slicing()
    return pipe


def distilled(pipe: Any) -> Any:
    """A latent consistency model: few steps, guidance told to the U-Net instead of a second half."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel.from_config({**pipe.unet.config, "time_cond_proj_dim": 8}).eval()
    scheduler = diffusers.LCMScheduler.from_config(pipe.scheduler.config)
    parts = {**pipe.components, "unet": unet, "scheduler": scheduler}
    return quiet(diffusers.LatentConsistencyModelPipeline(**parts, **UNCHECKED))


def interrupted(pipe: Any, step: int, t: Any, given: dict[str, Any]) -> dict[str, Any]:
    return {"latents": given["latents"] * 1.01}


def text(steps: int = 4, **more: Any) -> dict[str, Any]:
    return {"prompt": PROMPTS, "num_inference_steps": steps, "guidance_scale": 6.0, **more}


def image(steps: int = 4, **more: Any) -> dict[str, Any]:
    return {**text(steps), "prompt": PROMPTS[0], "image": IMAGE, **more}


# Pipeline, how it is called, and of its calls which lie in the second half of the schedule ("y").
CASES: dict[str, tuple[Callable[[Any, Any], Any], dict[str, Any], str]] = {
    "guided": (lambda sd, xl: sd, text(), "nnyy"),
    "unguided": (lambda sd, xl: sd, text(guidance_scale=1.0), "nnyy"),
    "negative prompts": (lambda sd, xl: sd, text(negative_prompt=["a forest", "a city"]), "nnyy"),
    "several images a prompt": (lambda sd, xl: sd, text(num_images_per_prompt=2), "nnyy"),
    "rescaled guidance": (lambda sd, xl: sd, text(guidance_rescale=0.7), "nnyy"),
    "a callback that changes latents": (lambda sd, xl: sd, text(callback_on_step_end=interrupted), "nnyy"),
    "no dictionary": (lambda sd, xl: sd, text(return_dict=False), "nnyy"),
    "Euler": (lambda sd, xl: scheduled(sd, "EulerDiscreteScheduler"), text(), "nnyy"),
    "Euler ancestral": (lambda sd, xl: scheduled(sd, "EulerAncestralDiscreteScheduler"), text(), "nnyy"),
    "DPM-Solver": (lambda sd, xl: scheduled(sd, "DPMSolverMultistepScheduler"), text(), "nnyy"),
    "UniPC": (lambda sd, xl: scheduled(sd, "UniPCMultistepScheduler"), text(), "nnyy"),
    "DDPM": (lambda sd, xl: scheduled(sd, "DDPMScheduler"), text(), "nnyy"),
    "PNDM": (lambda sd, xl: scheduled(sd, "PNDMScheduler", skip_prk_steps=True), text(), "nnnyy"),
    "Heun": (lambda sd, xl: scheduled(sd, "HeunDiscreteScheduler"), text(), "nnnnnyy"),
    "LCM": (lambda sd, xl: scheduled(sd, "LCMScheduler"), text(guidance_scale=1.0), "nnyy"),
    "two steps": (lambda sd, xl: sd, text(2), "ny"),
    "attention slices": (lambda sd, xl: sliced(sd), text(), "nnyy"),
    "LoRA": (lambda sd, xl: with_lora(sd, False), text(), "nnyy"),
    "LoRA, fused": (lambda sd, xl: with_lora(sd, True), text(), "nnyy"),
    "offload": (lambda sd, xl: offloaded(sd), text(), "nnyy"),
    "LCM pipeline": (lambda sd, xl: distilled(sd), text(**SIDE), "nnyy"),
    "image to image": (lambda sd, xl: variant(sd, "StableDiffusionImg2ImgPipeline"), image(8, strength=0.75), "nnyyyy"),
    "inpainting": (
        lambda sd, xl: variant(sd, "StableDiffusionInpaintPipeline"), image(mask_image=MASK, **SIDE), "nnyy",
    ),
    "ControlNet": (lambda sd, xl: variant(sd, "StableDiffusionControlNetPipeline"), image(**SIDE), "nnyy"),
    "ControlNet, guess": (
        lambda sd, xl: variant(sd, "StableDiffusionControlNetPipeline"), image(guess_mode=True, **SIDE), "nnyy",
    ),
    "ControlNet, image": (
        lambda sd, xl: variant(sd, "StableDiffusionControlNetImg2ImgPipeline"),
        image(8, control_image=IMAGE, strength=0.5, **SIDE), "yyyy",
    ),
    "ControlNet, inpainting": (
        lambda sd, xl: variant(sd, "StableDiffusionControlNetInpaintPipeline"),
        image(control_image=IMAGE, mask_image=MASK, **SIDE), "nnyy",
    ),
    "XL": (lambda sd, xl: xl, text(), "nnyy"),
    "XL, first part": (lambda sd, xl: xl, text(8, denoising_end=0.75), "nnnnyy"),
    "XL, image": (lambda sd, xl: variant(xl, "StableDiffusionXLImg2ImgPipeline"), image(8, strength=0.5), "yyyy"),
    "XL, last part": (
        lambda sd, xl: variant(xl, "StableDiffusionXLImg2ImgPipeline"), image(8, denoising_start=0.25), "nnyyyy",
    ),
    "XL, inpainting": (
        lambda sd, xl: variant(xl, "StableDiffusionXLInpaintPipeline"),
        image(8, mask_image=MASK, strength=0.5, **SIDE), "yyyy",
    ),
    "XL, ControlNet": (lambda sd, xl: variant(xl, "StableDiffusionXLControlNetPipeline"), image(**SIDE), "nnyy"),
}  # fmt: skip


def images_of(pipe: Any, given: dict[str, Any]) -> Tensor:
    """(B, 3, H, W), from the same noise in each call."""
    return pipe(**given, output_type="pt", generator=torch.Generator().manual_seed(4))[0]


def seen(pipe: Any, given: dict[str, Any], *args: Any, **more: Any) -> tuple[list[Tensor], Tensor, Any]:
    """What ``steer`` adds to h in each call of the U-Net; the images, and the context."""
    after: list[Tensor] = []
    handle = pipe.unet.up_blocks[0].register_forward_pre_hook(
        lambda module, args, named: after.append(named["hidden_states"]), with_kwargs=True
    )
    try:
        with record_hspace(pipe.unet) as before, steer(pipe, *args, **more) as s:
            images = images_of(pipe, given)
    finally:
        handle.remove()
    return [b - a for a, b in zip(before, after, strict=True)], images, s


@pytest.mark.parametrize("case", CASES)
def test_each_call_is_edited_by_its_timestep_and_the_others_not_at_all(sd: Any, xl: Any, case: str) -> None:
    make, given, expected = CASES[case]
    pipe = make(sd, xl)
    vanilla = images_of(pipe, given)
    added, images, s = seen(pipe, given, [(concept(), 1.5)], window=(0.5, 1.0))
    assert "".join("y" if one.any() else "n" for one in added) == expected
    guided = pipe.do_classifier_free_guidance
    for one in added:
        halves = one.chunk(2) if guided else [one]
        assert len(halves[-1]) == len(images)
        if one.any():
            torch.testing.assert_close(halves[-1], (1.5 * VECTOR).expand_as(halves[-1]), atol=1e-5, rtol=1e-5)
        assert not guided or not halves[0].any()
    assert (images - vanilla).abs().max() > 1e-3
    assert s.unedited is None
    assert torch.equal(images_of(pipe, given), vanilla)


QUICK = {
    "guided", "unguided", "several images a prompt", "a callback that changes latents", "no dictionary", "PNDM",
    "Euler ancestral", "LCM pipeline", "image to image", "inpainting", "ControlNet, guess", "XL, first part",
    "XL, ControlNet",
}  # fmt: skip


@pytest.mark.parametrize("case", [pytest.param(one, marks=[] if one in QUICK else pytest.mark.slow) for one in CASES])
def test_an_unedited_run_of_the_same_noise_comes_first(sd: Any, xl: Any, case: str) -> None:
    make, given, expected = CASES[case]
    pipe = make(sd, xl)
    vanilla = images_of(pipe, given)
    both = [(concept(name, "focused"), 4.0) for name in ("woman", "man")]
    added, images, s = seen(pipe, given, both, assignment="balanced", method="focused_no_adaptive")
    assert torch.equal(s.unedited[0], vanilla)
    steps = len(expected)
    assert len(added) == 2 * steps
    assert not any(one.any() for one in added[:steps])
    assert all(one.any() for one in added[steps:])
    assert ((images - vanilla).flatten(1).abs().amax(1) > 1e-3).all()
    assert torch.equal(images_of(pipe, given), vanilla)


def sure(*names: str) -> list[tuple[Concept, float]]:
    """Concepts whose means lie so close together that every h shows one of them, and surely."""
    means = {"woman": 1e-4, "man": -1e-4}
    mean = torch.randn(16, 4, 4, generator=torch.Generator().manual_seed(5))
    made = {name: concept(name, "focused", presence=size * mean) for name, size in means.items()}
    made["man"] = replace(made["man"], vector=-VECTOR)
    return [(made[name], 4.0) for name in names]


def test_samples_that_need_nothing_are_not_run_again_and_keep_their_image_to_the_bit(sd: Any) -> None:
    given = {**text(), "num_images_per_prompt": 4}
    vanilla, rows, decoded = images_of(sd, given), [], []
    handle = sd.unet.conv_in.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    other = sd.vae.decoder.register_forward_pre_hook(lambda module, args: decoded.append(len(args[0])))
    both = sure("woman", "man")
    with steer(sd, both, assignment="balanced") as s:
        edited = images_of(sd, given)
    handle.remove()
    other.remove()
    assert torch.equal(s.unedited[0], vanilla)
    left = (edited == vanilla).flatten(1).all(1)
    count = 8 - int(left.sum())
    assert 0 < count < 8
    assert rows == [16] * 4 + [2 * count] * 4
    assert decoded == [8, count]
    # Whoever shows a woman needs an edit where a man is asked for, and none where a woman is.
    with steer(sd, both, assignment="balanced") as s:
        sd(**text(), output_type="latent")
        s.made = 1
        turned = images_of(sd, given)
    assert torch.equal((turned == vanilla).flatten(1).all(1), ~left)


def test_where_no_sample_needs_an_edit_there_is_no_second_run(sd: Any) -> None:
    calls: list[int] = []
    handle = sd.unet.register_forward_pre_hook(lambda module, args: calls.append(1))
    given, both = {**text(), "prompt": PROMPTS[0]}, sure("woman", "man")
    needed = []
    for made in (0, 1):
        calls.clear()
        with steer(sd, both, assignment="balanced") as s:
            s.made = made
            images = images_of(sd, given)
        needed.append(len(calls))
        assert torch.equal(images, s.unedited[0]) == (len(calls) == 4)
    handle.remove()
    assert sorted(needed) == [4, 8]


def test_noise_of_the_global_generator_is_that_of_a_call_without_steer(sd: Any) -> None:
    torch.manual_seed(7)
    vanilla = [sd(**text(), output_type="latent").images for _ in range(2)]
    torch.manual_seed(7)
    with steer(sd, [(concept(), 1.0)], frequency="haar") as s:
        for expected in vanilla:
            sd(**text(), output_type="latent")
            assert torch.equal(s.unedited.images, expected)


def test_several_schedules_in_one_context(sd: Any) -> None:
    with steer(sd, [(concept(), 1.0)], window=(0.5, 1.0)):
        pass
    for steps, expected in ((4, "nnyy"), (8, "nnnnyyyy"), (2, "ny"), (8, "nnnnyyyy")):
        added, _, _ = seen(sd, text(steps), [(concept(), 1.0)], window=(0.5, 1.0))
        assert "".join("y" if one.any() else "n" for one in added) == expected


def test_a_context_can_be_entered_again_loaded_and_told_other_strengths(sd: Any) -> None:
    vanilla = images_of(sd, text())
    s = steer(sd, [(concept(), 1.0), (concept("old"), 0.0)])
    with s:
        once = images_of(sd, text())
        s.strength["female"] = 0
        assert torch.equal(images_of(sd, text()), vanilla)
        s.strength |= {"female": 0, "old": 1}  # the same vector
        torch.testing.assert_close(images_of(sd, text()), once, atol=1e-5, rtol=1e-5)
        s.strength["femal"] = 1
        with pytest.raises(UserError, match="Did you mean 'female'"):
            images_of(sd, text())
        s.strength = {"female": float("inf"), "old": 0}
        with pytest.raises(UserError, match="finite number as the strength"):
            images_of(sd, text())
        with pytest.raises(UserError, match="unload it first"):
            s.load()
    s.unload()
    s.strength = {"female": 1, "old": 0}
    s.load()
    assert torch.equal(images_of(sd, text()), once)
    s.unload()
    with pytest.raises(KeyboardInterrupt), s:
        raise KeyboardInterrupt
    assert torch.equal(images_of(sd, text()), vanilla)


def test_contexts_nest_where_no_unedited_run_is_needed(sd: Any) -> None:
    both = images_under(sd, [(concept(), 1.0), (concept("old"), -0.5)])
    with steer(sd, [(concept(), 1.0)]), steer(sd, [(concept("old"), -0.5)]):
        torch.testing.assert_close(images_of(sd, text()), both, atol=1e-5, rtol=1e-5)
    for one, other in (("haar", None), (None, "haar")):
        with (
            steer(sd, [(concept(), 1.0)], frequency=one),
            steer(sd, [(concept("old"), 1.0)], frequency=other),
            pytest.raises(UserError, match="do not nest"),
        ):
            images_of(sd, text())


def images_under(pipe: Any, *args: Any, **more: Any) -> Tensor:
    with steer(pipe, *args, **more):
        return images_of(pipe, text())


def test_an_edit_that_does_nothing_is_an_error(sd: Any) -> None:
    with pytest.raises(UserError, match="no step of this call lies in the window"):
        images_under(sd, [(concept(), 1.0)], window=(0.8, 1.0))
    changed = type(sd)(**sd.components, **UNCHECKED)
    with steer(changed, [(concept(), 1.0)]):
        changed.unet = type(sd.unet).from_config(sd.unet.config)
        with pytest.raises(UserError, match="did not call the U-Net that it had"):
            images_of(quiet(changed), text())
    deaf = quiet(diffusers.DiffusionPipeline.from_pretrained(sd.name_or_path))
    deaf.unet.mid_block = type("Deaf", (nn.Module,), {"__call__": lambda self, h, *args, **more: h})()  # calls no hooks
    with pytest.raises(UserError, match="h was not reached"):
        images_under(deaf, [(concept(), 1.0)])


def without_guidance(pipe: Any, step: int, t: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Guidance ends after two steps, as diffusers' own page on callbacks has it."""
    if step == 1:
        pipe._guidance_scale = 0.0
        given["prompt_embeds"] = given["prompt_embeds"].chunk(2)[-1]
    return given


def test_guidance_that_ends_within_a_call_is_followed_or_told(sd: Any) -> None:
    given = text(callback_on_step_end=without_guidance, callback_on_step_end_tensor_inputs=["prompt_embeds"])
    added, _, _ = seen(sd, given, [(concept(), 1.0)])
    assert [len(one) for one in added] == [4, 4, 2, 2]
    assert all(not one[:2].any() for one in added[:2])
    for one in added:
        torch.testing.assert_close(one[-2:], VECTOR.expand_as(one[-2:]), atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match="guidance or size changes within a call"):
        seen(sd, given, [(concept(), 1.0)], frequency="haar")


def by_hand(pipe: Any, rows: int, steps: int = 4, **more: Any) -> list[Tensor]:
    """What is added to h in a user's own loop over three images of one schedule."""
    after: list[Tensor] = []
    handle = pipe.unet.up_blocks[0].register_forward_pre_hook(
        lambda module, args, named: after.append(named["hidden_states"]), with_kwargs=True
    )
    try:
        with torch.no_grad(), record_hspace(pipe.unet) as before, steer(pipe, [(concept(), 1.0)], **more):
            pipe.scheduler.set_timesteps(steps)
            for _ in range(3):
                for t in pipe.scheduler.timesteps:
                    pipe.unet(
                        torch.randn(rows, 4, 8, 8), t.expand(rows), encoder_hidden_states=torch.randn(rows, 16, 16)
                    )
    finally:
        handle.remove()
    return [b - a for a, b in zip(before, after, strict=True)]


def test_a_loop_of_ones_own_is_edited_at_every_step_of_the_window_or_told(sd: Any) -> None:
    window = {"window": (0.5, 1.0)}
    added = by_hand(sd, 3, branch="both", **window)
    assert "".join("y" if one.any() else "n" for one in added) == "nnyy" * 3
    torch.testing.assert_close(added[2], VECTOR.expand(3, -1, 4, 4), atol=1e-5, rtol=1e-5)
    halves = by_hand(sd, 4, guidance_scale=6.0, **window)[2].chunk(2)
    assert not halves[0].any()
    torch.testing.assert_close(halves[1], VECTOR.expand(2, -1, 4, 4), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(by_hand(sd, 3, guidance_scale=1.0)[0], VECTOR.expand(3, -1, 4, 4), atol=1e-5, rtol=1e-5)
    for rows, message, more in (
        (4, "which rows are the conditional half is not known", {}),
        (3, "3 rows, which do not split into two halves", {"guidance_scale": 6.0}),
        (4, "needs the unedited run: call the pipeline itself", {"guidance_scale": 6.0, "frequency": "haar"}),
    ):
        with pytest.raises(UserError, match=message):
            by_hand(sd, rows, **more)
    with steer(sd, [(concept(), 1.0)], branch="both"):
        with pytest.raises(UserError, match=r"timestep 1\.5 is none of the scheduler's"):
            sd.unet(torch.randn(1, 4, 8, 8), 1.5, encoder_hidden_states=torch.randn(1, 16, 16))
        times = sd.scheduler.timesteps[:2]
        with pytest.raises(UserError, match="none of the scheduler's"):
            sd.unet(torch.randn(2, 4, 8, 8), times, encoder_hidden_states=torch.randn(2, 16, 16))


def test_a_second_pipeline_of_the_same_unet_is_edited_rightly_or_told(sd: Any) -> None:
    given = image(8, strength=0.75)
    with steer(sd, [(concept(), 1.0)]):
        second = quiet(diffusers.StableDiffusionImg2ImgPipeline.from_pipe(sd))
        with pytest.raises(UserError, match="is not known here: say steer"):
            images_of(second, given)
    expected, _, _ = seen(second, given, [(concept(), 1.0)], branch="both", window=(0.5, 1.0))
    after: list[Tensor] = []
    handle = sd.unet.up_blocks[0].register_forward_pre_hook(
        lambda module, args, named: after.append(named["hidden_states"]), with_kwargs=True
    )
    with record_hspace(sd.unet) as before, steer(sd, [(concept(), 1.0)], branch="both", window=(0.5, 1.0)):
        images_of(second, given)
    handle.remove()
    for a, b, other in zip(before, after, expected, strict=True):
        torch.testing.assert_close(b - a, other, atol=1e-5, rtol=1e-5)


REFUSED = [
    "StableDiffusionPanoramaPipeline", "StableDiffusionInstructPix2PixPipeline", "StableDiffusionPAGPipeline",
    "StableDiffusionSAGPipeline", "StableDiffusionUpscalePipeline", "AnimateDiffPipeline", "KandinskyPipeline",
    "StableVideoDiffusionPipeline", "LEditsPPPipelineStableDiffusion", "LEditsPPPipelineStableDiffusionXL",
    "LatentConsistencyModelImg2ImgPipeline", "KolorsPipeline", "StableDiffusion3Img2ImgPipeline",
]  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_pipelines_that_were_not_tried_are_refused_at_once(sd: Any, name: str) -> None:
    kind = getattr(diffusers, name)
    pipe = kind.__new__(kind)  # none of its parts is looked at
    with pytest.raises(UserError, match=f"^{name} is no pipeline that steer was tried with"):
        steer(pipe, [(concept(), 1.0)])


def test_a_class_of_ones_own_is_refused_also_where_it_says_that_it_is_not_guided(sd: Any) -> None:
    own = type("StableDiffusionPipeline", (type(sd),), {"do_classifier_free_guidance": property(lambda self: False)})
    pipe = quiet(own(**sd.components, **UNCHECKED))
    with pytest.raises(UserError, match="is no pipeline that steer was tried with"):
        steer(pipe, [(concept(), 1.0)])


def test_a_call_inside_of_a_call_is_refused(sd: Any) -> None:
    def again(pipe: Any, step: int, t: Any, given: dict[str, Any]) -> dict[str, Any]:
        pipe(**text())
        return given

    with pytest.raises(UserError, match="inside of its own call"):
        seen(sd, text(callback_on_step_end=again), [(concept(), 1.0)])
    assert images_under(sd, [(concept(), 1.0)]).isfinite().all()
