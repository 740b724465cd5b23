"""Manifests."""

from __future__ import annotations

from pathlib import Path

import pytest

from hspace_exp.errors import UserError
from hspace_exp.generation.manifest import read_manifest, write_manifest, write_pairs
from hspace_exp.io.atomic import write_text
from hspace_exp.prompts.plan import Item

HEADER = "prompt,profession,seed_index,target,strength,original,edited\n"


def test_manifest_paths_are_relative_to_it(tmp_path: Path) -> None:
    write_text(tmp_path / "manifest.csv", HEADER + '"a photo, of a nurse",nurse,3,male,1.5,images/o.png,images/e.png\n')
    (pair,) = read_manifest(tmp_path / "manifest.csv")
    assert (pair.prompt, pair.profession, pair.seed_index) == ("a photo, of a nurse", "nurse", 3)
    assert (pair.target, pair.strength) == ("male", 1.5)
    assert (pair.original, pair.edited) == (tmp_path / "images/o.png", tmp_path / "images/e.png")


@pytest.mark.parametrize("edited", [True, False])
def test_what_is_written_is_read_again(tmp_path: Path, edited: bool) -> None:
    items = [
        Item("a photo of a film director", "film director", 12, "female+dark"),
        Item("a nurse", "nurse", 0, "male"),
        Item("a nurse", "nurse", 1),
    ]
    path = write_manifest(tmp_path / "run", items, {"female": 1.5, "dark": 2.5, "male": -1.0}, edited)
    assert path == tmp_path / "run" / "manifest.csv"
    pairs = read_manifest(path)
    assert [(p.prompt, p.profession, p.seed_index, p.target) for p in pairs] == [
        (i.prompt, i.profession, i.seed_index, i.target) for i in items
    ]
    assert [p.strength for p in pairs] == ([2.5, -1.0, 0.0] if edited else [0.0] * 3)
    images = tmp_path / "run" / "images"
    assert pairs[0].original == images / "original" / "film_director" / "0012.png"
    assert pairs[0].edited == images / ("edited" if edited else "original") / "film_director" / "0012.png"
    assert pairs[0].name == "film director\x1fa photo of a film director\x1f12\x1ffemale+dark"
    again = write_pairs(tmp_path / "elsewhere", pairs)
    assert "../run/images/original/film_director/0012.png" in again.read_text()
    assert [p.original.resolve() for p in read_manifest(again)] == [p.original for p in pairs]


def test_an_empty_strength_is_none(tmp_path: Path) -> None:
    write_text(tmp_path / "manifest.csv", HEADER + "p,nurse,3,,,o.png,e.png\n")
    (pair,) = read_manifest(str(tmp_path / "manifest.csv"))
    assert (pair.target, pair.strength) == ("", 0.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"manifest\.csv cannot be had .*: run the generation stage first$"),
        ("", "lists no images"),
        (HEADER, "lists no images"),
        ("prompt,profession\na,b\n", "lacks the columns seed_index, target"),
        (
            HEADER + "a,b,three,male,1,o,e\n",
            r"\(0\.seed_index: Input should be a valid integer.*\): run the generation stage again",
        ),
    ],
)
def test_bad_manifests(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        write_text(tmp_path / "manifest.csv", text)
    with pytest.raises(UserError, match=message):
        read_manifest(tmp_path / "manifest.csv")
