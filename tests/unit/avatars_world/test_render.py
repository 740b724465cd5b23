import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from avatars_world import people
from avatars_world import render as r
from avatars_world.specs import Spec, sample_spec
from hspace_exp.avatars.world import GENDERS, PROFESSIONS, SUBJECTS
from hspace_exp.errors import UserError

pytest.importorskip("python_avatars")
pytest.importorskip("resvg_py")
PARTS = ("gender", "skin", "profession", "glasses")


def some_specs(count: int) -> list[Spec]:
    return [sample_spec(np.random.default_rng(i)) for i in range(count)]


def test_every_pixel_is_a_pure_function_of_spec_and_seed() -> None:
    spec = some_specs(1)[0]
    first, second, other = r.render(spec, 3), r.render(spec, 3), r.render(spec, 4)
    assert (first.image == second.image).all()
    assert all((first.masks[name] == second.masks[name]).all() for name in first.masks)
    assert (first.image != other.image).any()


def test_an_image_is_exactly_its_layers_composited() -> None:
    for seed, spec in enumerate(some_specs(4)):
        rgba, masks = r.render_person(spec, seed)
        scene = r.render_scene(spec.scene, seed)
        whole = r.render(spec, seed)
        # Pillow composites in integers of its own, so it may differ by one level.
        over = Image.fromarray(scene).convert("RGBA")
        over.alpha_composite(Image.fromarray(rgba))
        assert np.abs(whole.image.astype(int) - np.asarray(over)[..., :3].astype(int)).max() <= 1
        assert (whole.image == r.composite(rgba, scene)).all()
        assert (whole.image[rgba[..., 3] == 0] == scene[rgba[..., 3] == 0]).all()
        assert (whole.masks["background"] == ~masks["person"]).all()


def test_parts_are_disjoint_and_cover_the_person() -> None:
    for seed, spec in enumerate(some_specs(12)):
        rgba, masks = r.render_person(spec, seed)
        assert (masks["person"] == (rgba[..., 3] >= 128)).all()
        stack = np.stack([masks[name] for name in PARTS])
        assert stack.sum(0).max() == 1
        assert (stack.any(0) == masks["person"]).all()
        assert masks["skin"].sum() > 400
        assert masks["profession"].sum() > 1500
        assert masks["gender"].sum() > 40
        assert masks["glasses"].any() == (people.look(spec, seed).glasses is not None)


@pytest.mark.parametrize("part", PARTS)
def test_masks_agree_with_recolouring_the_part(part: str) -> None:
    """Independent check: painting one part black or white changes the pixels of its mask and no others."""
    spec, seed = Spec("mechanic", "male", "old", "tan", "garage"), 8
    _, masks = r.render_person(spec, seed)
    assert masks[part].any()
    pictures = []
    for colour in ("#000000", "#ffffff"):
        layers = people.layers(spec, seed)
        svg = "".join(r._flatten(s, colour if name == part else "#808080") for name, s in layers if name)
        rgba = r._rasterise(svg, 128).astype(int)
        pictures.append(rgba[..., :3].max(-1) * rgba[..., 3] / 255)
    share = (pictures[1] - pictures[0]) / 255
    assert masks[part][share > 0.55].all()
    assert not masks[part][share < 0.15].any()


@pytest.mark.parametrize("gender", GENDERS)
def test_hats_never_hide_gender(gender: str) -> None:
    for subject in PROFESSIONS:
        for seed in range(2):
            _, masks = r.render_person(Spec(subject, gender, "young", "tan", "office"), seed)
            hair = masks["gender"].sum()
            assert hair >= (600 if gender == "female" else 40), (subject, seed, hair)


def test_professions_are_told_apart_by_garment_and_prop() -> None:
    """A nearest-mean rule on coarse colours of the profession mask names held-out persons."""

    def features(subject: str, seed: int) -> np.ndarray:
        spec = sample_spec(np.random.default_rng(seed), subject)
        rgba, masks = r.render_person(spec, seed)
        kept = masks["profession"][..., None] * rgba[..., :3].astype(float)
        return kept.reshape(16, 8, 16, 8, 3).mean((1, 3)).ravel()

    means = np.stack([np.mean([features(s, k) for k in range(4)], 0) for s in PROFESSIONS])
    hits = [
        np.argmin(((means - features(subject, 100 + k)) ** 2).sum(1)) == index
        for index, subject in enumerate(PROFESSIONS)
        for k in range(2)
    ]
    assert np.mean(hits) >= 0.95


def test_size_scales_the_same_drawing() -> None:
    spec = some_specs(3)[2]
    small, _ = r.render_person(spec, 1, 64)
    large, masks = r.render_person(spec, 1, 128)
    assert small.shape == (64, 64, 4)
    assert masks["person"].shape == (128, 128)
    halved = large[..., 3].reshape(64, 2, 64, 2).mean((1, 3))
    assert np.abs(halved - small[..., 3]).mean() < 3


def test_render_many_is_render_person_in_order() -> None:
    specs, seeds = some_specs(3), [5, 6, 7]
    for workers in (1, 2):
        for spec, seed, (rgba, bits) in zip(specs, seeds, r.render_many(specs, seeds, workers), strict=True):
            expected, masks = r.render_person(spec, seed)
            assert (rgba == expected).all()
            for name, bit in r.PART_IDS.items():
                assert ((bits >> bit & 1).astype(bool) == masks[name]).all()
    with pytest.raises(UserError, match="one seed a spec"):
        next(r.render_many(specs, [1]))


def test_the_package_imports_without_the_extra() -> None:
    code = (
        "import sys; sys.modules['python_avatars'] = sys.modules['resvg_py'] = None\n"
        "from avatars_world import render, preview\n"
        "from avatars_world.specs import Spec\n"
        "try: render.render(Spec('nurse', 'female', 'young', 'tan', 'office'), 0)\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'hspace-exp[avatars]'" in done.stdout
    assert done.stdout.count("\n") == 1


def test_subjects_all_draw() -> None:
    for subject in SUBJECTS:
        image = r.render(Spec(subject, "male", "old", "dark", "beach"), 1, 32, parts=False).image
        assert image.shape == (32, 32, 3)
        assert image.dtype == np.uint8
        assert Image.open(io.BytesIO(_png(image))).size == (32, 32)


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()
