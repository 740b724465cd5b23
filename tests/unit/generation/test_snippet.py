"""Lines of Python for concept files, run as they are printed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from hspace_exp.avatars import CONCEPTS
from hspace_exp.commands import start
from hspace_exp.concepts.concept import Concept


def printed(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What ``hspace-exp steer`` prints."""
    assert start(["steer", *map(str, words)]) == 0
    return capsys.readouterr().out


@pytest.mark.slow
def test_the_lines_make_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = printed(capsys, CONCEPTS / "female.safetensors", "--prompt", "a photo of a doctor's desk")
    assert code.count("\n") <= 7
    exec(code, {})
    with Image.open("image.png") as image:
        assert image.size == (128, 128)


def concept(folder: Path, name: str, model: str, **used: object) -> Path:
    plain = Concept(torch.ones(2, 1, 1), name, "gender", model, "r", (2, 4, 4), "sdid", hyperparameters=used)
    return plain.save(folder / f"{name}.safetensors")


def test_strengths_and_the_model_are_those_of_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = concept(tmp_path / "it's", "female", "sd15", strength=2.5)
    code = printed(capsys, file)
    assert f"    with steer(pipe, {{{str(file)!r}: 2.5}}):"[4:] in code
    assert "from_pretrained('stable-diffusion-v1-5/stable-diffusion-v1-5')" in code
    assert "pipe(['a photo of a doctor'], guidance_scale=7.5)" in code
    other = concept(tmp_path / "it's", "male", "stable-diffusion-v1-5/stable-diffusion-v1-5")
    assert start(["steer", str(file), str(other)]) == 2
    assert "for several models" in capsys.readouterr().err
    shutil.copy(concept(tmp_path, "male", "sd15"), file.with_name("male.safetensors"))
    fair = printed(capsys, tmp_path / "it's")
    assert f'{str(other)!r}: 1.0}}, assignment="balanced"):' in fair
    assert "['a photo of a doctor'] * 2" in fair


def test_what_a_file_says_is_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = printed(capsys, concept(tmp_path, "a", "x'); import os; os._exit(1) #"))
    assert "from_pretrained('FOLDER OF THE MODEL')" in code
    assert "os._exit" not in code
    assert os.fspath(tmp_path) in code
