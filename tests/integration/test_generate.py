"""``python -m hspace_exp generate`` on a tiny model."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hspace_exp.concepts.concept import Concept
from hspace_exp.generation.__main__ import main
from hspace_exp.models.backbone import load_backbone

PROMPTS = {
    "female": {"positive": "a photo of a woman", "neutral": "a photo of a person", "words": "woman"},
    "male": {"positive": "a photo of a man", "neutral": "a photo of a person", "words": "man"},
    "old": {"positive": "a photo of an old person", "neutral": "a photo of a person", "words": "old"},
}


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
    given = (f"model.source={world}", "device=cpu", "num_inference_steps=2", f"out={out}", "chunk_size=2")
    yield Place(tmp_path / "concepts", out, given)
    logging.getLogger().handlers[:], logging.getLogger().level = handlers, level


def test_a_fair_batch_from_one_prompt(place: Place) -> None:
    ask = [f"concepts={place.concepts}", "ask=gender", "seeds=4", "prompt=a photo of a doctor"]
    assert main([*place.given, *ask]) == 0
    rows = place.rows()
    assert [row["target"] for row in rows] == ["female", "male"] * 2
    assert {row["strength"] for row in rows} == {"2.0"}
    assert all(np.abs(place.image(row, "original") - place.image(row, "edited")).max() > 2 for row in rows)
    with Image.open(place.out / "grid.png") as grid:
        assert grid.size[0] > 4 * 32
    before = [(place.out / row["edited"]).stat().st_mtime_ns for row in rows]
    (place.out / rows[2]["edited"]).write_bytes(b"damaged")
    assert main([*place.given, *ask]) == 0
    after = [(place.out / row["edited"]).stat().st_mtime_ns for row in rows]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False, True]


@pytest.mark.parametrize("folder", ["seed=0", "seed=0,protocol=full", "it's seed=0"])
def test_concepts_are_taken_from_the_folder_of_a_run(place: Place, folder: str) -> None:
    own = place.concepts.parent / folder / "concepts"
    own.parent.mkdir()
    place.concepts.rename(own)
    assert main([*place.given, f"concepts={own}", "ask=gender", "seeds=1", "prompt=a photo of a doctor"]) == 0
    assert [row["target"] for row in place.rows()] == ["female"]


def test_a_seed_gives_the_same_image_in_any_batch(place: Place) -> None:
    ask = [f"concepts={place.concepts}", "ask=female", "prompt=a photo of a doctor"]
    assert main([*place.given, *ask, "seeds=3"]) == 0
    image = place.image(place.rows()[2], "edited")
    assert main([*place.given, *ask, "seeds=[2]", f"out={place.out / 'other'}"]) == 0
    alone = np.asarray(
        Image.open(place.out / "other" / "images" / "edited" / "a_photo_of_a_doctor" / "0002.png"), float
    )
    assert np.abs(image - alone).max() <= 1


def test_explicit_prompts_are_left_alone_unless_told_otherwise(place: Place) -> None:
    ask = [f"concepts={place.concepts}", "ask=gender", "seeds=2", "prompt=a photo of a male nurse"]
    assert main([*place.given, *ask]) == 0
    for row in place.rows():
        assert row["target"] == ""
        assert np.abs(place.image(row, "original") - place.image(row, "edited")).max() <= 1
    assert main([*place.given, *ask, "respect_prompt=false"]) == 0
    assert [row["target"] for row in place.rows()] == ["female", "male"]


def test_files_named_one_by_one_are_all_asked_for(place: Place) -> None:
    files = ",".join(str(place.concepts / f"{name}.safetensors") for name in ("male", "old"))
    ask = [f"concepts=[{files}]", "assignment=sum", "seeds=[5]", "prompt=a photo of a nurse", "strength=0.5"]
    assert main([*place.given, *ask]) == 0
    (row,) = place.rows()
    assert (row["target"], row["seed_index"], row["strength"]) == ("male+old", "5", "0.5")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (["prompt=a doctor"], "concepts=… is missing"),
        (["prompt=a doctor", "concepts={concepts}"], "say which is asked for"),
        (["prompt=a doctor", "concepts={concepts}", "ask=gander"], "Did you mean 'gender'"),
        (["prompt=''", "concepts={concepts}", "ask=gender"], "the prompt is empty"),
        (["prompt=a doctor", "concepts={concepts}", "ask=gender", "seeds=-1"], "expected seeds"),
        (["prompt=a doctor", "concepts={concepts}", "ask=gender", "assignment=fmale"], "Did you mean 'female'"),
        (["prompt=a doctor", "concepts={concepts}", "ask=gender", "method=original"], "edits nothing"),
        (["prompt=a doctor", "concepts={concepts}", "ask=gender", "sseeds=3"], "Did you mean 'seeds'"),
        (["prompt=a doctor", "concepts=/nowhere.safetensors"], "no concept file"),
        (
            ["prompt=a doctor", "concepts={concepts}", "model.guidance_scale=x"],
            "guidance_scale=x: expected a valid",
        ),
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


def test_help_shows_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "respect_prompt: true" in capsys.readouterr().out
