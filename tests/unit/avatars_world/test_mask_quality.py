"""Intersection over union of maps, its interval, and the command that measures providers on renders."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from avatars_world import mask_quality as measure
from avatars_world.mask_quality import main
from hspace_exp.models.backbone import Backbone


@pytest.fixture
def small_renders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Circles instead of people: the world's renderer draws at any size, but slowly."""

    def block(
        oracle: object, backbone: Backbone, attribute: str, value: str, part: str, indices: range, seed: int
    ) -> dict[str, Tensor]:
        side = backbone.image_size
        exact = torch.zeros(len(indices), 1, side, side)
        exact[:, :, 4:12, 4:12] = 1
        return {"latents": torch.randn(len(indices), *backbone.latent_shape), "exact": exact}

    monkeypatch.setattr("avatars_world.mask_quality.OracleMasks.make_images", block)


@pytest.mark.usefixtures("small_renders")
def test_command_writes_numbers_and_pictures(tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    arguments = [
        f"--weights={tiny_folder}",
        f"--out={out}",
        "--device=cpu",
        "--images=2",
        "--providers=attention,difference",
    ]
    assert main(arguments) == 0
    report = json.loads((out / "gender.json").read_text())
    assert set(report["results"]) == {"attention", "difference"}
    assert set(report["results"]["attention"]["each"]) == {"female", "male"}
    assert report["results"]["attention"]["iou"]["n"] == 4
    assert report["part"] == "gender"
    assert (out / "gender_difference.png").is_file()
    for wrong, message in (
        ("--attribute=hair", "Choices: age, custom, expression, gender"),
        ("--providers=sams", "Did you mean 'sam'"),
        ("--images=1", "at least 2 images"),
    ):
        assert main([*arguments, wrong]) == 2
        assert message in capsys.readouterr().err


def test_what_is_compared_asks_for_both_kinds_of_heat() -> None:
    assert {p.heat for p in measure.providers("cpu").values()} == {"attention", "difference"}
