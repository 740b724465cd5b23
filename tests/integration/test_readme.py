"""The README's lines of Python run as they stand, on the embedded pipeline."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hspace_exp.concepts.concept import load_concept

README = Path(__file__).parents[2] / "README.md"


def block(containing: str) -> str:
    """The indented block of the section on Python that holds a line."""
    section = README.read_text("utf-8").split("## In Python")[1].split("\n## ")[0]
    (found,) = [some for some in re.findall(r"(?:^    .*\n|^\n(?=    ))+", section, re.MULTILINE) if containing in some]
    return "\n".join(line[4:] for line in found.splitlines())


@pytest.mark.filterwarnings("ignore")
def test_the_lines_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    few = ("num_inference_steps=20", "num_inference_steps=2")
    exec(block("EMBEDDED)").replace(*few), names)
    with Image.open("carpenter.png") as image:
        assert image.size == (128, 128)
        assert np.asarray(image).std() > 1
    small = ('method="sdid"', 'method="sdid", images=2, steps=2, num_inference_steps=2')
    exec(block("train_concept(").replace(*small), names)
    assert load_concept("concepts/old.safetensors").name == "old"
