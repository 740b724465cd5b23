"""How far two runs of one configuration agree: manifest, noises, images, labels, numbers, vectors."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hspace_exp.concepts.concept import load_concept
from hspace_exp.evaluation.judged_csv import read_judged
from hspace_exp.generation.manifest import read_manifest
from hspace_exp.io.seeding import initial_noise
from hspace_exp.results.record import read_record

NOISES, PICTURES = 64, 200


@dataclass(frozen=True)
class Agreement:
    """Of two runs; shares are of 1.

    Attributes:
        manifest: rows that differ.
        noise: of the first ``NOISES`` items, initial noises that differ.
        pixels: largest difference of up to ``PICTURES`` images of each kind, in 8-bit steps.
        labels: judge → share of images whose label of what was asked for differs.
        all_labels: share of all labels, of all judges and attributes, before and after.
        metrics: metric → absolute difference, where it is not zero.
        vectors: concept → cosine, and relative difference.
        digests: whether the configurations count as the same.
    """

    manifest: int
    noise: int
    pixels: int
    labels: Mapping[str, float]
    all_labels: float
    metrics: Mapping[str, float]
    vectors: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    digests: bool = True


def agreement(one: Path, two: Path, latent_shape: tuple[int, int, int]) -> Agreement:
    """Compare the folders of two runs that are done."""
    first, second = read_record(one), read_record(two)
    rows = [_rows(run / "manifest.csv") for run in (one, two)]
    differing = sum(a != b for a, b in zip(*rows, strict=False)) + abs(len(rows[0]) - len(rows[1]))
    seeds = [record.config["protocol"]["image_seed"] for record in (first, second)]
    noises = [_noises(run, latent_shape, seed) for run, seed in zip((one, two), seeds, strict=True)]
    judged = [read_judged(run) for run in (one, two)]
    values = {name: (first.metrics[name].value, second.metrics[name].value) for name in first.metrics}
    known = {name: abs(a - b) for name, (a, b) in values.items() if a is not None and b is not None and a != b}
    odd = [name for name, (a, b) in values.items() if (a is None) != (b is None)]
    return Agreement(
        manifest=differing,
        noise=sum(a != b for a, b in zip(*noises, strict=True)),
        pixels=_pixels(one, two),
        labels={
            name.split(".")[0]: _changed(judged, [name])
            for name in judged[0][0]
            if name.endswith(f".{first.attribute}.after")
        },
        all_labels=_changed(judged, [name for name in judged[0][0] if name.endswith((".before", ".after"))]),
        metrics=known | dict.fromkeys(odd, float("inf")),
        vectors=_vectors(one, two),
        digests=first.config_digest == second.config_digest,
    )


def _rows(file: Path) -> list[list[str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def _noises(run: Path, shape: tuple[int, int, int], image_seed: int) -> list[str]:
    """Hashes of the noises that the items of a run's manifest start from."""
    pairs = read_manifest(run / "manifest.csv")[:NOISES]
    noises = [initial_noise(pair.prompt, pair.seed_index, shape, image_seed) for pair in pairs]
    return [hashlib.sha256(noise.numpy().tobytes()).hexdigest() for noise in noises]


def _pixels(one: Path, two: Path) -> int:
    largest = 0
    for kind in ("original", "edited"):
        for file in sorted((one / "images" / kind).rglob("*.png"))[:PICTURES]:
            a, b = (np.asarray(Image.open(path), dtype=int) for path in (file, two / file.relative_to(one)))
            largest = max(largest, int(np.abs(a - b).max()))
    return largest


def _changed(judged: list[list[dict[str, str]]], columns: list[str]) -> float:
    pairs = [(a[name], b[name]) for a, b in zip(*judged, strict=True) for name in columns]
    return sum(a != b for a, b in pairs) / len(pairs)


def _vectors(one: Path, two: Path) -> dict[str, tuple[float, float]]:
    found = {}
    for file in sorted((one / "concepts").glob("*.safetensors")):
        a, b = (load_concept(folder / "concepts" / file.name).vector.double().flatten() for folder in (one, two))
        found[file.stem] = (torch.cosine_similarity(a, b, dim=0).item(), ((a - b).norm() / a.norm()).item())
    return found
