"""From specs to pixels: persons with exact part masks, scenes, and both together.

Masks come from a second rasterisation in which each part is one flat colour: red, green, blue and black. The colour of
a pixel is then the share of it that each part shows, hidden parts having none, and the pixel goes to the largest share.
So masks are exact but for rounding, disjoint, and together the person's own mask, which is alpha >= 128. Eyes, brows,
mouth and wrinkles count as skin, and so do hands; "glasses" is the frame.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from PIL import Image

from avatars_world import people
from avatars_world.art import extra
from avatars_world.scenes import scene_svg
from avatars_world.specs import Spec
from hspace_exp.errors import UserError

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

PART_IDS: Mapping[str, int] = MappingProxyType({"person": 0, "gender": 1, "skin": 2, "profession": 3, "glasses": 4})
_FLAT = {"gender": "#ff0000", "skin": "#00ff00", "profession": "#0000ff", "glasses": "#000000"}
_PAINT = re.compile(r'(fill|stroke)="#[0-9A-Fa-f]{3,8}"')
_FAINT = re.compile(r'(fill-opacity|opacity)="([0-9.]+)"')
_SOLID_ALPHA = 128


@dataclass(frozen=True)
class Render:
    """One image and its masks.

    Attributes:
        image: (S, S, 3).
        masks: (S, S) each, the keys of ``PART_IDS`` and "background"; empty where masks were not asked for.
    """

    image: Pixels
    masks: Mapping[str, Mask]


def render_person(spec: Spec, seed: int, size: int = 128, *, parts: bool = True) -> tuple[Pixels, dict[str, Mask]]:
    """Draw a person without a background; a pure function of its arguments.

    Args:
        spec: whom to draw; the scene is not looked at.
        seed: decides what the spec leaves open.
        size: side of the image in pixels.
        parts: False skips the masks (and half of the time).

    Returns:
        (size, size, 4) RGBA with straight alpha, and a (size, size) mask for each key of ``PART_IDS``.
    """
    layers = people.layers(spec, seed)
    rgba = _rasterise("".join(svg for _, svg in layers), size)
    return rgba, _masks(layers, rgba[..., 3]) if parts else {}


def render_scene(scene: str, seed: int, size: int = 128) -> Pixels:
    """Draw a background, (size, size, 3); a pure function of its arguments."""
    return np.ascontiguousarray(_pixels(scene_svg(scene, seed), size)[..., :3])


def render(spec: Spec, seed: int, size: int = 128, *, parts: bool = True) -> Render:
    """Draw a person in the scene of its spec: exactly ``composite`` of ``render_person`` over ``render_scene``."""
    rgba, masks = render_person(spec, seed, size, parts=parts)
    if parts:
        masks["background"] = ~masks["person"]
    return Render(composite(rgba, render_scene(spec.scene, seed, size)), masks)


def composite(rgba: Pixels, background: Pixels) -> Pixels:
    """Alpha-composite (..., 4) with straight alpha over (..., 3), rounded to the nearest level (ties to even)."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    mixed = rgba[..., :3].astype(np.float32) * alpha + background.astype(np.float32) * (1 - alpha)
    return mixed.round().astype(np.uint8)


def part_bits(masks: Mapping[str, Mask]) -> Pixels:
    """Pack masks into one (S, S) map: bit ``PART_IDS[name]`` is set where the part is."""
    bits = np.zeros(masks["person"].shape, np.uint8)
    for name, bit in PART_IDS.items():
        bits |= masks[name].astype(np.uint8) << bit
    return bits


def render_many(
    specs: Sequence[Spec], seeds: Sequence[int], workers: int = 1, size: int = 128
) -> Iterator[tuple[Pixels, Pixels]]:
    """Draw many persons in order, on several processes.

    Args:
        specs: whom to draw.
        seeds: one a spec.
        workers: processes; 1 draws in this one.
        size: side of the images in pixels.

    Yields:
        (size, size, 4) RGBA and (size, size) ``part_bits`` of each person.
    """
    if len(specs) != len(seeds):
        raise UserError(f"render_many needs one seed a spec; got {len(specs)} specs and {len(seeds)} seeds")
    jobs = [(spec, seed, size) for spec, seed in zip(specs, seeds, strict=True)]
    if workers <= 1:
        yield from map(_render_job, jobs)
        return
    with get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(_render_job, jobs, chunksize=32)


def _render_job(job: tuple[Spec, int, int]) -> tuple[Pixels, Pixels]:
    rgba, masks = render_person(*job)
    return rgba, part_bits(masks)


def _rasterise(content: str, size: int) -> Pixels:
    """Draw SVG elements in the portrait's coordinates, (size, size, 4)."""
    x, y, w, h = people.VIEW_BOX
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{x} {y} {w} {h}" width="{size}" height="{size}">'
    )
    return _pixels(f"{head}{content}</svg>", size)


def _pixels(svg: str, size: int) -> Pixels:
    png = extra("resvg_py").svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)
    return np.array(Image.open(io.BytesIO(png)).convert("RGBA"))


def _masks(layers: Sequence[people.Layer], alpha: Pixels) -> dict[str, Mask]:
    flat = _rasterise("".join(_flatten(svg, _FLAT[part]) for part, svg in layers if part), alpha.shape[0])
    shares = flat.astype(np.int16)
    shares[..., 3] = 255 - shares[..., :3].sum(-1)
    largest = shares.argmax(-1)
    person = alpha >= _SOLID_ALPHA
    return {"person": person, **{name: person & (largest == index) for index, name in enumerate(_FLAT)}}


def _flatten(svg: str, colour: str) -> str:
    """The same drawing in one opaque colour, without its shading."""
    painted = _PAINT.sub(rf'\1="{colour}"', svg)
    return _FAINT.sub(lambda m: f'{m[1]}="{int(float(m[2]) >= 0.5)}"', painted)
