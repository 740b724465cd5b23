"""diffusers' own pipelines, steered: what our sampling does with the same edit, and nothing once it is over."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from benchmarks.recording import record_hspace
from hspace_exp import Concept, steer
from hspace_exp.errors import UserError
from hspace_exp.methods.frequency import LowFrequency, fft_lowpass, haar_lowpass
from hspace_exp.methods.steering import Window
from hspace_exp.models.backbone import load_backbone
from hspace_exp.models.hspace import HEdit, edit_hspace
from hspace_exp.models.sampling import Sampling

# Of diffusers' Euler scheduler, with this NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PROMPTS = ["a photo of a doctor", "a photo of a nurse"]
STEPS = 4


def load(folder: Path) -> Any:
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def pipe(tiny_folder: Path) -> Any:
    return load(tiny_folder)


def concept(
    *shape: int, name: str = "female", seed: int = 0, h: tuple[int, int, int] = (16, 4, 4), **more: Any
) -> Concept:
    vector = torch.randn(shape or h, generator=torch.Generator().manual_seed(seed))
    given = {"method": "sdid", "hyperparameters": {"branch": "both"}, **more}
    return Concept(vector, name, "gender", "tiny", "abc", h, **given)


def noise_of(pipe: Any, rows: int = 2) -> Tensor:
    side = pipe.unet.config.sample_size
    return torch.randn(rows, 4, side, side, generator=torch.Generator().manual_seed(3))


def latents_of(pipe: Any, prompts: list[str] = PROMPTS, guidance_scale: float = 6.0, **more: Any) -> Tensor:
    options = {"num_inference_steps": STEPS, "guidance_scale": guidance_scale, "output_type": "latent", **more}
    return pipe(prompts, latents=noise_of(pipe, len(prompts)), **options).images


def ours(folder: Path, edit: HEdit | None = None, guidance_scale: float = 6.0) -> Tensor:
    backbone = load_backbone(folder, device="cpu", guidance_scale=guidance_scale)
    noise = torch.randn(2, *backbone.latent_shape, generator=torch.Generator().manual_seed(3))
    with nullcontext() if edit is None else edit_hspace(backbone.unet, edit):
        return Sampling(STEPS)(backbone, noise, backbone.encode_prompts(PROMPTS))


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def h_of(pipe: Any, make: Callable[[Any], Tensor], *args: Any, **options: Any) -> list[tuple[Tensor, Tensor]]:
    """What h is in each call of the U-Net, before and after ``steer`` edits it."""
    after: list[Tensor] = []

    def note(module: Any, given: Any, named: dict[str, Any]) -> None:
        after.append(named["hidden_states"])

    handle = pipe.unet.up_blocks[0].register_forward_pre_hook(note, with_kwargs=True)
    with record_hspace(pipe.unet) as before, steer(pipe, *args, **options):
        make(pipe)
    handle.remove()
    return list(zip(before, after, strict=True))


def state_of(pipe: Any) -> Any:
    """All that steer sets."""
    parts = pipe.unet, pipe.unet.mid_block
    hooks = [list(some) for part in parts for some in (part._forward_hooks, part._forward_pre_hooks)]
    return type(pipe), hooks, "forward" in vars(pipe.unet), "decode" in vars(pipe.vae)


def test_the_package_itself_stays_light() -> None:
    code = "import sys, hspace_exp; assert 'torch' not in sys.modules and 'diffusers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(ImportError, match="steering"):
        from hspace_exp import steering  # noqa: F401


def test_names_of_the_package_are_what_they_say() -> None:
    import hspace_exp

    assert callable(hspace_exp.steer)
    assert hspace_exp.Concept is Concept


@pytest.mark.parametrize("guidance_scale", [1.0, 6.0])
def test_strength_0_is_vanilla_bit_for_bit_and_so_is_everything_afterwards(pipe: Any, guidance_scale: float) -> None:
    vanilla, state = latents_of(pipe, guidance_scale=guidance_scale), state_of(pipe)
    with steer(pipe, [(concept(), 0.0)]):
        assert torch.equal(latents_of(pipe, guidance_scale=guidance_scale), vanilla)
    with steer(pipe, [(concept(), 1.0)], frequency="haar") as s:
        assert not torch.allclose(latents_of(pipe, guidance_scale=guidance_scale), vanilla, atol=1e-2)
        assert isinstance(pipe, diffusers.StableDiffusionPipeline)
    assert torch.equal(s.unedited.images, vanilla)
    assert state_of(pipe) == state
    assert torch.equal(latents_of(pipe, guidance_scale=guidance_scale), vanilla)


@pytest.mark.parametrize("branch", ["both", "conditional"])
@pytest.mark.parametrize("guidance_scale", [1.0, 6.0])
def test_a_file_does_what_our_sampling_does_with_the_same_edit(
    tiny_folder: Path, tmp_path: Path, pipe: Any, branch: str, guidance_scale: float
) -> None:
    female = concept()
    path = female.save(tmp_path / "female.safetensors")
    with steer(pipe, {path: 1.5}, branch=branch):
        found = latents_of(pipe, guidance_scale=guidance_scale)
    edit = HEdit(female.vector, 1.5, guided=guidance_scale > 1, branch=branch)
    close(found, ours(tiny_folder, edit, guidance_scale))
    assert not torch.allclose(found, ours(tiny_folder, None, guidance_scale), atol=1e-2)


@pytest.mark.parametrize(("branch", "low"), [("conditional", None), ("conditional", "both"), ("both", None)])
def test_strengths_of_a_file_that_states_its_guidance_follow_the_pipelines(
    pipe: Any, branch: str, low: str | None
) -> None:
    factor = (2 / 6.5) ** 0.4 if branch == "conditional" else 1.0
    stated = concept(hyperparameters={"branch": branch, "guidance_scale": 3.0})
    plain = concept(hyperparameters={"branch": branch})
    weight = 0.35 if low == "both" else 0.35 * factor
    scaled, by_hand = (LowFrequency(some, "current", haar_lowpass, low) for some in (0.35, weight))
    with steer(pipe, [(stated, 2.0)], frequency=scaled):
        found = latents_of(pipe, guidance_scale=7.5)
    with steer(pipe, [(plain, 2.0 * factor)], frequency=by_hand):
        close(found, latents_of(pipe, guidance_scale=7.5))
    with steer(pipe, [(stated, 2.0)], frequency=scaled):
        unguided = latents_of(pipe, guidance_scale=1.0)
    factor = (2 / 0.25) ** 0.4 if branch == "conditional" else 1.0
    by_hand = LowFrequency(0.35 if low == "both" else 0.35 * factor, "current", haar_lowpass, low)
    with steer(pipe, [(plain, 2.0 * factor)], frequency=by_hand):
        close(unguided, latents_of(pipe, guidance_scale=1.0))


def test_sdxl(tiny_sdxl_folder: Path) -> None:
    pipe, female = load(tiny_sdxl_folder), concept(16, 1, 1)
    with steer(pipe, [(female, 3.0)]):
        found = latents_of(pipe)
    close(found, ours(tiny_sdxl_folder, HEdit(female.vector, 3.0, guided=True)))


@pytest.mark.parametrize(
    ("frequency", "lowpass", "weight", "branch"),
    [
        (LowFrequency(0.35, "current", fft_lowpass), fft_lowpass, 0.35, None),
        (LowFrequency(0.5, "current", haar_lowpass, "both"), haar_lowpass, 0.5, "both"),
    ],
)
def test_low_frequencies(
    tiny_folder: Path, pipe: Any, frequency: Any, lowpass: Any, weight: float, branch: str | None
) -> None:
    female = concept(hyperparameters={"branch": "conditional"})
    with steer(pipe, [(female, 1.0)], frequency=frequency):
        found = latents_of(pipe)
    edit = HEdit(female.vector, 1.0, None, lowpass, weight, guided=True, branch="conditional", lowpass_branch=branch)
    close(found, ours(tiny_folder, edit))


@pytest.mark.parametrize("window", [(0.0, 0.5), (0.25, 0.75), (0.5, 1.0)])
def test_a_window_counts_the_steps_of_each_run(tiny_folder: Path, pipe: Any, window: tuple[float, float]) -> None:
    female, part = concept(), Window(*window)
    backbone = load_backbone(tiny_folder, device="cpu", guidance_scale=6.0)
    edit = HEdit(female.vector, 1.0, guided=True)

    def hooks(done: float) -> Any:
        return edit_hspace(backbone.unet, edit if done in part else HEdit(guided=True))

    noise, embeds = noise_of(pipe), backbone.encode_prompts(PROMPTS)
    with steer(pipe, [(female, 1.0)], window=window):
        for steps in (4, 8, 8):
            found = latents_of(pipe, num_inference_steps=steps)
            close(found, Sampling(steps)(backbone, noise, embeds, hooks))


def test_a_run_that_was_broken_off_does_not_shift_the_next_ones_window(pipe: Any) -> None:
    def stop(pipe: Any, step: int, t: Any, given: dict[str, Any]) -> dict[str, Any]:
        raise KeyboardInterrupt

    with steer(pipe, [(concept(), 1.0)], window=(0.5, 1.0)):
        expected = latents_of(pipe)
        with pytest.raises(KeyboardInterrupt):
            latents_of(pipe, callback_on_step_end=stop)
        assert torch.equal(latents_of(pipe), expected)


def test_a_window_follows_schedulers_that_call_the_unet_more_often(pipe: Any) -> None:
    pipe.scheduler = diffusers.HeunDiscreteScheduler.from_config(pipe.scheduler.config)
    found = h_of(pipe, latents_of, [(concept(), 1.0)], window=(0.5, 1.0))
    # Of 7 calls those at 0, 1, 1, 3, 3, 5 and 5 sevenths of the schedule: two calls at one timestep go together.
    assert [torch.equal(*pair) for pair in found] == [True] * 5 + [False] * 2


def test_several_concepts_add_up_whatever_their_order_and_shape(tiny_folder: Path, pipe: Any) -> None:
    female, old = concept(), concept(16, 1, 1, name="old", seed=1)
    with steer(pipe, [(female, 1.0), (old, -0.5)]):
        found = latents_of(pipe)
    close(found, ours(tiny_folder, HEdit(female.vector - 0.5 * old.vector, guided=True)))
    with steer(pipe, [(old, -0.5), (female, 1.0)]):
        assert torch.equal(latents_of(pipe), found)
    with steer(pipe, [(female, 1.0)]), steer(pipe, [(old, -0.5)]):
        close(latents_of(pipe), found)


def test_each_concept_enters_its_own_branch(pipe: Any) -> None:
    one, other = concept(hyperparameters={"branch": "conditional"}), concept(name="old", seed=1)
    vanilla, edited = h_of(pipe, latents_of, [(one, 1.0), (other, 2.0)])[0]
    unconditional, conditional = (edited - vanilla).chunk(2)
    torch.testing.assert_close(unconditional, (2 * other.vector).expand(2, -1, -1, -1), atol=1e-5, rtol=1e-5)
    both = one.vector + 2 * other.vector
    torch.testing.assert_close(conditional, both.expand(2, -1, -1, -1), atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match="different branches"), steer(pipe, [(one, 1), (other, 2)], frequency="haar"):
        pass


def test_each_concept_is_brought_from_the_guidance_that_it_states(pipe: Any) -> None:
    one, other = (
        concept(name=name, seed=seed, hyperparameters={"branch": "conditional", **stated})
        for name, seed, stated in (("female", 0, {"guidance_scale": 3.0}), ("old", 1, {}))
    )
    more = concept(name="tall", seed=2, hyperparameters=one.hyperparameters)
    vanilla, edited = h_of(pipe, latents_of, [(one, 1.0), (other, 2.0), (more, 0.5)])[0]
    unconditional, conditional = (edited - vanilla).chunk(2)
    expected = (2 / 5) ** 0.4 * (one.vector + 0.5 * more.vector) + 2 * other.vector
    assert not unconditional.any()
    torch.testing.assert_close(conditional, expected.expand(2, -1, -1, -1), atol=1e-5, rtol=1e-5)


def test_half_precision_stays_half(pipe: Any) -> None:
    pipe.to(torch.bfloat16)
    with steer(pipe, [(concept(), 1.0)]):
        found = pipe(PROMPTS, num_inference_steps=2, output_type="latent").images
    assert found.dtype == torch.bfloat16
    assert found.isfinite().all()


def test_a_vector_of_another_shape_is_refused_and_the_hook_goes_away(pipe: Any) -> None:
    vanilla, state = latents_of(pipe), state_of(pipe)
    for shape, given in (((8, 1, 1), r"\(8, 1, 1\)"), ((16, 8, 8), r"\(16, 8, 8\)")):
        wrong = concept(*shape, h=(shape[0], 8, 8))
        message = rf"'female' is {given} for 'tiny'.*but '{re.escape(str(pipe.name_or_path))}' has h \(16, 4, 4\)"
        with pytest.raises(UserError, match=message), steer(pipe, [(wrong, 1.0)]):
            latents_of(pipe)
        assert state_of(pipe) == state
    assert torch.equal(latents_of(pipe), vanilla)
    nameless = diffusers.StableDiffusionPipeline(**pipe.components, requires_safety_checker=False)
    message = r"but 'StableDiffusionPipeline' has h \(16, 4, 4\)"
    with pytest.raises(UserError, match=message), steer(nameless, [(wrong, 1.0)]):
        latents_of(nameless)


def test_a_spatial_vector_belongs_to_one_image_size_and_a_channel_vector_to_all(pipe: Any) -> None:
    latents = torch.randn(1, 4, 16, 16)
    options = {"num_inference_steps": 1, "output_type": "latent", "height": 64, "width": 64, "latents": latents}
    with steer(pipe, [(concept(16, 1, 1), 1.0)]):
        latents_of(pipe)
        pipe("a nurse", **options)
    with steer(pipe, [(concept(), 1.0)]):
        latents_of(pipe)
        with pytest.raises(UserError, match=r"has h \(16, 8, 8\)"):
            pipe("a nurse", **options)


def test_what_has_no_meaning_is_refused_before_any_image(pipe: Any, tiny_folder: Path, tmp_path: Path) -> None:
    female = [(concept(), 1.0)]
    cases: list[tuple[str, dict[str, Any]]] = [
        ("no concept file", {"concepts": {tmp_path / "x.safetensors": 1.0}}),
        ("at least one concept", {"concepts": {}}),
        ("pairs, got a Concept", {"concepts": [concept()]}),
        ("pairs, got a tuple", {"concepts": [(concept(), 1.0, 2.0)]}),
        ("pairs, got a tuple", {"concepts": [(1.0, concept())]}),
        ("finite number as the strength of 'female'", {"concepts": [(concept(), float("nan"))]}),
        ("finite number as the strength of 'female'", {"concepts": [(concept(), "1")]}),
        ("as the strength of 'female', got 'none in its file'", {"concepts": [(concept(), None)]}),
        ("two of the concepts are named 'female'", {"concepts": [(concept(), 1.0), (concept(), 1.0)]}),
        ("Did you mean 'haar'", {"concepts": female, "frequency": "har"}),
        ("Did you mean 'sdid'", {"concepts": female, "method": "sdidd"}),
        ("unknown method 'sdidd'", {"concepts": [(concept(method="sdidd"), 1.0)]}),
        (
            "made by lwim and sdid, which differ",
            {"concepts": [(concept(), 1.0), (concept(name="a", method="lwim"), 1.0)]},
        ),
        (
            "asks an image for one concept only",
            {"concepts": [(concept(), 1.0), (concept(name="a"), 1.0)], "method": "h_guidance"},
        ),
        ("Choices: sum, balanced", {"concepts": female, "assignment": "random"}),
        ("Choices: both, conditional", {"concepts": female, "branch": "unconditional"}),
        (r"window \[start, stop\]", {"concepts": female, "window": (0.5,)}),
        ("0 <= start < stop <= 1", {"concepts": female, "window": (0.5, 0.5)}),
    ]
    for message, given in cases:
        with pytest.raises(UserError, match=message), steer(pipe, **given):
            pass
    backbone = load_backbone(tiny_folder, device="cpu")
    with pytest.raises(UserError, match="Backbone is no pipeline that steer was tried with"), steer(backbone, female):
        pass
    state = state_of(pipe)
    plain, pipe.unet = pipe.unet, torch.compile(pipe.unet, backend="eager")
    with pytest.raises(UserError, match="compiled"), steer(pipe, female):
        pass
    pipe.unet = plain
    pipe.unet.compile(backend="eager")
    with pytest.raises(UserError, match="compiled"), steer(pipe, female):
        pass
    pipe.unet._compiled_call_impl = None
    with steer(pipe, female):
        pipe.unet.forward = torch.compile(pipe.unet.forward, backend="eager")
        with pytest.raises(UserError, match="compiled"):
            latents_of(pipe)
    with pytest.raises(UserError, match="compiled"), steer(pipe, female):
        pass
    del pipe.unet.forward
    assert state_of(pipe) == state
