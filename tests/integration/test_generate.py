"""``hspace-exp generate`` on a tiny model."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hspace_exp.commands import start
from hspace_exp.concepts.concept import Concept, load_concept
from hspace_exp.generation.generate import sample_chunk
from hspace_exp.generation.grid import strip
from hspace_exp.generation.manifest import read_manifest
from hspace_exp.io import progress
from hspace_exp.io.images import to_uint8
from hspace_exp.methods.frequency import LowFrequency, haar_lowpass
from hspace_exp.methods.steering import AddedVector
from hspace_exp.models.backbone import load_backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.prompts.plan import Item

PROMPTS = {
    "female": {"positive": "a photo of a woman", "neutral": "a photo of a person", "words": "woman"},
    "male": {"positive": "a photo of a man", "neutral": "a photo of a person", "words": "man"},
    "old": {"positive": "a photo of an old person", "neutral": "a photo of a person", "words": "old"},
}


KINDS = ("original", "edited")


def main(words: Sequence[str]) -> int:
    return start(["generate", *words])


@dataclass(frozen=True)
class Place:
    """Concept files of a tiny model, and how to ask for images of it."""

    concepts: Path
    out: Path
    given: tuple[str, ...]

    def rows(self) -> list[dict[str, str]]:
        """The manifest."""
        with (self.out / "manifest.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def image(self, row: dict[str, str], kind: str) -> np.ndarray:
        """Pixels of an image that the manifest names."""
        return np.asarray(Image.open(self.out / row[kind]), dtype=float)


@pytest.fixture
def place(world: Path, tmp_path: Path) -> Iterator[Place]:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    backbone = load_backbone(world, device="cpu", name="avatars")
    random = torch.Generator().manual_seed(0)
    for name, prompts in PROMPTS.items():
        vector = 30 * torch.randn(backbone.h_shape, generator=random)
        attribute = "age" if name == "old" else "gender"
        used = {"strength": 2.0, "branch": "conditional"}
        Concept(
            vector, name, attribute, "avatars", backbone.revision, backbone.h_shape, "sdid", prompts, used
        ).save(tmp_path / "concepts" / f"{name}.safetensors")  # fmt: skip
    out = tmp_path / "out"
    given = ("--set", f"model.source={world}", "--device=cpu", "--steps=2", f"--out={out}", "--chunk-size=2")
    yield Place(tmp_path / "concepts", out, given)
    logging.getLogger().handlers[:], logging.getLogger().level = handlers, level


def test_a_fair_batch_from_one_prompt(place: Place) -> None:
    ask = [f"--concepts={place.concepts}", "--ask=gender", "--seeds=4", "a photo of a doctor"]
    assert main([*place.given, *ask]) == 0
    rows = place.rows()
    assert [row["target"] for row in rows] == ["female", "male"] * 2
    assert {row["strength"] for row in rows} == {"2.0"}
    assert all(np.abs(place.image(row, "original") - place.image(row, "edited")).max() > 2 for row in rows)
    pairs = read_manifest(place.out / "manifest.csv")
    columns = strip({"edited": [replace(pair, profession=f"seed {pair.seed_index}") for pair in pairs]})
    with Image.open(place.out / "grid.png") as grid:
        assert grid.size[0] > 4 * 32
        assert np.array_equal(grid, columns)
    before = [(place.out / row["edited"]).stat().st_mtime_ns for row in rows]
    (place.out / rows[2]["edited"]).write_bytes(b"damaged")
    assert main([*place.given, *ask]) == 0
    after = [(place.out / row["edited"]).stat().st_mtime_ns for row in rows]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False, True]


@pytest.mark.parametrize(
    ("used", "asked", "strength", "factor"),
    [
        ({"strength": 0.8, "guidance_scale": 7.5}, ["--strength=0.5"], 0.5, 1.0),
        ({"strength": 0.8, "guidance_scale": 7.5}, [], 0.8, (6.5 / 2) ** 0.4),
        ({}, ["--method=sdid_published"], 1.0, 1.0),
    ],
    ids=["as it is asked for", "as the file says", "as the method says"],
)
def test_images_are_those_of_the_edit(
    place: Place, world: Path, used: dict[str, float], asked: list[str], strength: float, factor: float
) -> None:
    file, prompt = place.concepts / "female.safetensors", "a photo of a doctor"
    female = replace(load_concept(file), hyperparameters=used)
    female = replace(female, vector=0.1 * female.vector)
    female.save(file)
    ask = [f"--concepts={file}", "--seeds=3,8,9", "--image-seed=7", prompt, "--frequency=haar", "--scheduler=ddim"]
    assert main([*place.given, *ask, *asked]) == 0
    assert {float(row["strength"]) for row in place.rows()} == {strength}

    backbone = load_backbone(world, device="cpu", name="avatars", guidance_scale=3.0)
    sampling = Sampling(2, partial(make_scheduler, kind="ddim"))
    items = [Item(prompt, prompt, seed, "female") for seed in (3, 8, 9)]

    def images(by: float) -> np.ndarray:
        low = LowFrequency(0.35 * by, "original", haar_lowpass)
        edit = AddedVector({"female": female.vector}, strength * by, "conditional", low)
        return to_uint8(sample_chunk(backbone, sampling, items, 7, edit)).astype(float)

    original = to_uint8(sample_chunk(backbone, sampling, items, 7, None)).astype(float)
    for kind, expected in (("original", original), ("edited", images(factor))):
        found = np.stack([place.image(row, kind) for row in place.rows()])
        assert np.abs(found - expected).max() <= 1
    assert np.abs(images(factor) - images(1.3 * factor)).max() > 2


def test_another_request_makes_again_what_it_changes(place: Place) -> None:
    prompt, file = "a photo of a doctor", place.concepts / "female.safetensors"
    ask = [*place.given, f"--concepts={place.concepts}", "--ask=gender", "--seeds=1", prompt]

    def made() -> dict[str, int]:
        assert main(ask) == 0
        (row,) = place.rows()
        return {kind: (place.out / row[kind]).stat().st_mtime_ns for kind in KINDS}

    before = made()
    for change in ("--image-seed=1", "--assignment=male", "--frequency=haar", "another vector"):
        if change == "another vector":
            female = load_concept(file)
            replace(female, vector=-female.vector).save(file)
        else:
            ask.append(change)
        after = made()
        again = {kind for kind in KINDS if after[kind] != before[kind]}
        assert again == ({*KINDS} if change == "--image-seed=1" else {"edited"}), change
        before = after


def test_attributes_that_are_not_asked_for_are_kept_by_methods_that_keep(place: Place) -> None:
    random = torch.Generator().manual_seed(1)
    old = load_concept(place.concepts / "old.safetensors")
    replace(old, name="young", vector=-old.vector).save(place.concepts / "young.safetensors")
    for file in place.concepts.glob("*.safetensors"):
        concept = load_concept(file)
        presence = torch.randn(concept.vector.shape, generator=random)
        replace(concept, method="focused", vector=0.1 * concept.vector, presence=presence).save(file)
    ask = ["--ask=gender", "--seeds=4", "a photo of a doctor"]

    def images(*asked: str) -> np.ndarray:
        assert main([*place.given, *ask, f"--concepts={place.concepts}", *asked]) == 0
        return np.stack([place.image(row, "edited") for row in place.rows()])

    kept, free = images(), images("--method=focused", "--set", "method.edit.keep=0")
    assert np.abs(kept - free).max() > 2
    (place.concepts / "young.safetensors").unlink()  # "old" alone is not kept: there is nothing to tell it from
    assert np.array_equal(images(), free)


def test_the_command_says_what_it_does_and_when(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = [f"--concepts={place.concepts}", "--ask=gender", "--seeds=2", "a photo of a doctor"]
    with monkeypatch.context() as patch:
        patch.setattr(logging.getLogger(), "handlers", [])
        patch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
        assert main([*place.given, *ask, "--chunk-size=1"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d \S", line) for line in lines)
    assert [line[9:] for line in lines] == [
        *(f"{kind} images: {done} of 2 done, about 0 min left" for kind in KINDS for done in (1, 2)),
        f"2 images and their twins: {place.out / 'grid.png'}",
    ]


@pytest.mark.parametrize("folder", ["seed=0", "seed=0,protocol=full,method.edit.keep=0", "it's seed=0"])
def test_concepts_are_taken_from_the_folder_of_a_run(place: Place, folder: str) -> None:
    own = place.concepts.parent / folder / "concepts"
    own.parent.mkdir()
    place.concepts.rename(own)
    assert main([*place.given, f"--concepts={own}", "--ask=gender", "--seeds=1", "a photo of a doctor"]) == 0
    assert [row["target"] for row in place.rows()] == ["female"]


def test_a_seed_gives_the_same_image_in_any_batch(place: Place) -> None:
    ask = [f"--concepts={place.concepts}", "--ask=female", "a photo of a doctor"]
    assert main([*place.given, *ask, "--seeds=3"]) == 0
    image = place.image(place.rows()[2], "edited")
    assert main([*place.given, *ask, "--seeds=2,", f"--out={place.out / 'other'}"]) == 0
    alone = np.asarray(
        Image.open(place.out / "other" / "images" / "edited" / "a_photo_of_a_doctor" / "0002.png"), float
    )
    assert np.abs(image - alone).max() <= 1


def test_explicit_prompts_are_left_alone_unless_told_otherwise(place: Place) -> None:
    ask = [f"--concepts={place.concepts}", "--ask=gender", "--seeds=2", "a photo of a male nurse"]
    assert main([*place.given, *ask]) == 0
    for row in place.rows():
        assert row["target"] == ""
        assert np.abs(place.image(row, "original") - place.image(row, "edited")).max() <= 1
    assert main([*place.given, *ask, "--no-respect-prompt"]) == 0
    assert [row["target"] for row in place.rows()] == ["female", "male"]


def test_files_named_one_by_one_are_all_asked_for(place: Place) -> None:
    files = ",".join(str(place.concepts / f"{name}.safetensors") for name in ("male", "old"))
    ask = [f"--concepts={files}", "--assignment=sum", "--seeds=5,", "a photo of a nurse", "--strength=0.5"]
    assert main([*place.given, *ask]) == 0
    (row,) = place.rows()
    assert (row["target"], row["seed_index"], row["strength"]) == ("male+old", "5", "0.5")


GIVEN = ["--concepts", "{concepts}", "--ask=gender"]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (["a doctor"], "Missing option '--concepts'"),
        (["a doctor", *GIVEN[:2]], "say which is asked for"),
        (["a doctor", *GIVEN, "--ask=gander"], "Did you mean 'gender'"),
        (["", *GIVEN], "the prompt is empty"),
        (["a doctor", *GIVEN, "--seeds=-1"], "expected seeds"),
        (["a doctor", *GIVEN, "--seeds=many"], "expected seeds"),
        (["a doctor", *GIVEN, "--assignment=fmale"], "Did you mean 'female'"),
        (["a doctor", *GIVEN, "--method=original"], "edits nothing"),
        (["a doctor", *GIVEN, "--method=sdidd"], "unknown method 'sdidd'. Did you mean 'sdid'"),
        (["a doctor", *GIVEN, "--sseeds=3"], "No such option: --sseeds (Possible options: --seeds"),
        (["a doctor", *GIVEN, "--set", "method.strenght=3"], "Did you mean 'strength'"),
        (["a doctor", *GIVEN, "--steps=0"], "'--steps': Input should be greater than or equal to 1"),
        (["a doctor", "--concepts=/nowhere.safetensors"], "no concept file"),
        (GIVEN, "Missing argument 'PROMPT...'"),
        (["a doctor", *GIVEN, "--device=cqu"], "expected a device"),
        (["a nurse and a doctor" + " and a nurse" * 5, *GIVEN], "this model takes"),
        (["a doctor", *GIVEN, "--set=+model.image_size=64"], "has h (16, 8, 8)"),
        (["a doctor", *GIVEN, "--set=model.guidance_scale=x"], "guidance_scale=x: expected a valid"),
    ],
)
def test_wrong_input_is_one_line(
    place: Place, capsys: pytest.CaptureFixture[str], ask: list[str], message: str
) -> None:
    assert main([*place.given, *(one.format(concepts=place.concepts) for one in ask)]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(error) == 1
    assert message in error[0]
    assert not place.out.exists()


WORDS = "a doctor's, (a #1)", "{a} café = a ${b}"


def test_a_prompt_needs_no_more_than_the_quotes_of_the_shell(place: Place) -> None:
    prompts = [*WORDS, "a photo of a doctor"]
    assert main([*place.given, *prompts, f"--concepts={place.concepts}", "--ask=gender", "--seeds=2"]) == 0
    rows = place.rows()
    assert [row["prompt"] for row in rows] == [prompt for prompt in prompts for _ in range(2)]
    assert [row["target"] for row in rows] == ["female", "male", "male", "female", "female", "male"]
    with Image.open(place.out / "grid.png") as grid:
        assert grid.size[1] > 6 * 32  # two rows a prompt
    alone = place.image(rows[4], "edited")
    assert main([*place.given, prompts[2], f"--concepts={place.concepts}", "--ask=gender", "--seeds=2"]) == 0
    assert np.abs(place.image(place.rows()[0], "edited") - alone).max() <= 1


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_shows_the_settings(capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert main([word]) == 0
    assert "--no-respect-prompt" in capsys.readouterr().out
