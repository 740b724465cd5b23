"""Manifests."""

from __future__ import annotations

from pathlib import Path

import pytest

from hspace_exp.errors import UserError
from hspace_exp.generation.manifest import read_manifest
from hspace_exp.io.atomic import write_text

HEADER = "prompt,profession,seed_index,target,strength,original,edited\n"


def test_manifest_paths_are_relative_to_it(tmp_path: Path) -> None:
    write_text(tmp_path / "manifest.csv", HEADER + '"a photo, of a nurse",nurse,3,male,1.5,images/o.png,images/e.png\n')
    (pair,) = read_manifest(tmp_path / "manifest.csv")
    assert (pair.prompt, pair.profession, pair.seed_index) == ("a photo, of a nurse", "nurse", 3)
    assert (pair.target, pair.strength) == ("male", 1.5)
    assert (pair.original, pair.edited) == (tmp_path / "images/o.png", tmp_path / "images/e.png")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no manifest"),
        ("", "lists no images"),
        (HEADER, "lists no images"),
        ("prompt,profession\na,b\n", "lacks the columns seed_index, target"),
        (HEADER + "a,b,three,male,1,o,e\n", "broken row"),
    ],
)
def test_bad_manifests(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        write_text(tmp_path / "manifest.csv", text)
    with pytest.raises(UserError, match=message):
        read_manifest(tmp_path / "manifest.csv")
