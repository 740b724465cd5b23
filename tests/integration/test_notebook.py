"""The notebook in docs/ runs from top to bottom, and its batch becomes fairer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hspace_exp.concepts.concept import load_concept
from hspace_exp.evaluation.functional.fairness import deviation_ratio

NOTEBOOK = json.loads((Path(__file__).parents[2] / "docs" / "fair_images.ipynb").read_text("utf-8"))
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def run(cells: list[str]) -> dict[str, Any]:
    """Run cells in order in one namespace, as a kernel does; what they leave."""
    names: dict[str, Any] = {}
    for number, text in enumerate(cells):
        exec(compile(text, f"cell {number}", "exec"), names)
    return names


def checked(names: dict[str, Any], folder: Path) -> None:
    """What every run of the notebook leaves."""
    assert names["before"].shape == names["after"].shape == (len(names["PROFESSIONS"]) * names["EACH"], 3, 128, 128)
    assert isinstance(names["portrait"], Image.Image)
    assert len(names["table"]) == len(names["PROFESSIONS"]) + 1
    for name in ("female", "male"):
        concept = load_concept(folder / "concepts" / f"{name}.safetensors")
        assert concept.prompts["positive"] == f"a photo of a {name} person"
        assert (folder / "concepts" / f"{name}.md").is_file()


def test_it_is_a_notebook_of_ten_cells() -> None:
    assert (NOTEBOOK["nbformat"], len(NOTEBOOK["cells"])) == (4, 10)
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == 10


@pytest.mark.filterwarnings("ignore")
def test_its_cells_run_when_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = {"images=16": "images=2", "steps=100": "steps=2", "num_inference_steps=10": "num_inference_steps=2"}
    small |= {'"nurse", "developer", "secretary"], 8': '"nurse"], 2'}
    cells = CODE
    for old, new in small.items():
        assert any(old in text for text in cells)
        cells = [text.replace(old, new) for text in cells]
    checked(run(cells), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore")
def test_its_batch_becomes_fairer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run(CODE)
    checked(names, tmp_path)
    before, after = (deviation_ratio(names["counts"](names[when])).mean() for when in ("before", "after"))
    assert after < before - 0.2
