"""Training data: people and scenes rendered once as layers, recombined on the device."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from avatars_world.architecture import IMAGE_SIZE
from avatars_world.specs import Spec, sample_spec
from hspace_exp.avatars.world import AGES, GENDERS, SCENES, SKIN_TONES
from hspace_exp.io.atomic import write_json

TRAIN_SEED = 0
HELD_OUT_SEED = 10_000_000
PERSON_SHARE = 0.12
# Each pool draws some attributes evenly and then always names them in the caption, so that captions that leave an
# attribute unsaid keep the truth table's statistics exactly, while every combination of words is seen.
POOLS: dict[str, tuple[float, tuple[str, ...]]] = {
    "natural": (0.40, ()),
    "gender": (0.20, ("gender",)),
    "age": (0.10, ("age",)),
    "skin_tone": (0.10, ("skin_tone",)),
    "all": (0.20, ("gender", "age", "skin_tone", "scene")),
}
_EVEN = {"gender": GENDERS, "age": AGES, "skin_tone": SKIN_TONES, "scene": SCENES}


def draw_person(index: int, base_seed: int = TRAIN_SEED) -> tuple[Spec, str]:
    """Spec and pool of training person ``index``; a pure function of its arguments."""
    rng = np.random.default_rng([base_seed, index])
    subject = "person" if rng.random() < PERSON_SHARE else None
    shares = np.array([share for share, _ in POOLS.values()])
    pool = list(POOLS)[int(rng.choice(len(POOLS), p=shares / shares.sum()))]
    even = {name: str(rng.choice(_EVEN[name])) for name in POOLS[pool][1]}
    return sample_spec(rng, subject, **even), pool


def _render_people(job: tuple[str, int, int, int]) -> int:
    from avatars_world.render import part_bits, render_person

    folder, start, stop, base_seed = job
    rgba = np.lib.format.open_memmap(Path(folder) / "rgba.npy", mode="r+")
    parts = np.lib.format.open_memmap(Path(folder) / "parts.npy", mode="r+")
    for index in range(start, stop):
        spec, _ = draw_person(index, base_seed)
        image, masks = render_person(spec, base_seed + index)
        rgba[index], parts[index] = image, part_bits(masks)
    return stop - start


def _render_scenes(job: tuple[str, int, int, int]) -> int:
    from avatars_world.render import render_scene

    folder, start, stop, base_seed = job
    scenes = np.lib.format.open_memmap(Path(folder) / "scenes.npy", mode="r+")
    for index in range(start, stop):
        scenes[index] = render_scene(SCENES[index % len(SCENES)], base_seed + index // len(SCENES))
    return stop - start


def render_layers(
    folder: Path, people: int, scenes: int, *, base_seed: int = TRAIN_SEED, workers: int | None = None
) -> None:
    """Render ``people`` persons (RGBA and part bits) and ``scenes`` backgrounds into memory-mapped files.

    Args:
        folder: receives ``rgba.npy`` (N, S, S, 4), ``parts.npy`` (N, S, S) with one bit a part, ``scenes.npy``
            (M, S, S, 3) and ``layers.json``; a folder that holds the same request is left as it is.
        people: number of persons.
        scenes: number of backgrounds, scene names in turn.
        base_seed: first seed; held-out data uses ``HELD_OUT_SEED``.
        workers: processes, default one a core.
    """
    request = {"people": people, "scenes": scenes, "base_seed": base_seed, "size": IMAGE_SIZE}
    done = folder / "layers.json"
    if done.exists() and json.loads(done.read_text()) == request:
        return
    folder.mkdir(parents=True, exist_ok=True)
    size = IMAGE_SIZE
    for name, shape in {
        "rgba": (people, size, size, 4),
        "parts": (people, size, size),
        "scenes": (scenes, size, size, 3),
    }.items():
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.uint8, shape=shape)
    started, workers = time.monotonic(), workers or os.cpu_count() or 1
    with get_context("spawn").Pool(workers) as pool:
        for function, total in ((_render_scenes, scenes), (_render_people, people)):
            jobs = [(str(folder), i, min(i + 100, total), base_seed) for i in range(0, total, 100)]
            finished = 0
            for count in pool.imap_unordered(function, jobs):
                finished += count
            print(f"[data] {function.__name__[8:]} {finished} in {time.monotonic() - started:.0f} s", flush=True)
    write_json(done, request)


class Layers:
    """Rendered layers on a device, recombined by index."""

    def __init__(self, folder: Path, device: str | torch.device) -> None:
        """Load what ``render_layers`` wrote into ``folder``."""
        request = json.loads((folder / "layers.json").read_text())
        self.rgba = torch.from_numpy(np.load(folder / "rgba.npy")).to(device)
        self.parts = torch.from_numpy(np.load(folder / "parts.npy")).to(device)
        self.scenes = torch.from_numpy(np.load(folder / "scenes.npy")).to(device)
        drawn = [draw_person(i, request["base_seed"]) for i in range(len(self.rgba))]
        self.specs: list[Spec] = [spec for spec, _ in drawn]
        self.pools: list[str] = [pool for _, pool in drawn]
        self.device = torch.device(device)

    def compose(self, people: torch.Tensor, scenes: torch.Tensor) -> torch.Tensor:
        """Composite persons over scenes; (B,) indices to (B, 3, S, S) float32 in [0, 1], as ``render`` rounds it."""
        rgba = self.rgba[people].to(torch.float32)
        alpha = rgba[..., 3:] / 255
        image = rgba[..., :3] * alpha + self.scenes[scenes].to(torch.float32) * (1 - alpha)
        return (image.round() / 255).permute(0, 3, 1, 2)


def labels_of(specs: Sequence[Spec]) -> dict[str, torch.Tensor]:
    """Class indices of the persons' attributes (scene excluded: it is chosen at composition), each (N,) int64."""
    from hspace_exp.avatars.probe import ATTRIBUTES

    rows = [asdict(spec) for spec in specs]
    fields = {"gender": "gender", "age": "age", "skin_tone": "skin_tone", "profession": "subject"}
    return {name: torch.tensor([ATTRIBUTES[name].index(row[field]) for row in rows]) for name, field in fields.items()}
