"""Intersection over union of maps, its interval, and the command that measures providers on renders."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from avatars_world import mask_quality as measure
from avatars_world.mask_quality import main, map_iou, mask_iou, rendered_mask_iou
from hspace_exp.errors import UserError
from hspace_exp.masks.attention import AttentionMasks
from hspace_exp.masks.none import NoMasks
from hspace_exp.masks.oracle import OracleMasks
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import ConceptPrompts

CONCEPTS = {
    "female": ConceptPrompts(positive="a photo of a woman", neutral="a photo of a person", words="woman"),
    "male": ConceptPrompts(positive="a photo of a man", neutral="a photo of a person", words="man"),
}


def test_iou_by_hand() -> None:
    maps, exact = torch.zeros(4, 1, 4, 4), torch.zeros(4, 1, 4, 4)
    exact[:3, :, :2] = 1  # 8 pixels
    maps[0, :, :2] = 0.5  # the same
    maps[1, :, 1:3] = 0.9  # half of it, and as much beside
    maps[2, :, 2:] = 1  # nothing of it
    torch.testing.assert_close(map_iou(maps, exact), torch.tensor([1, 1 / 3, 0, 1]))
    with pytest.raises(UserError, match="one shape"):
        map_iou(maps, exact[:2])


def test_mean_and_interval_do_not_depend_on_order() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = (torch.rand(30, 1, 6, 6, generator=generator) > 0.4).float()
    exact = (torch.rand(30, 1, 6, 6, generator=generator) > 0.4).float()
    names = [str(i) for i in range(30)]
    value = mask_iou(maps, exact, names)
    assert value.value == pytest.approx(float(map_iou(maps, exact).mean()), abs=1e-5)
    assert value.ci_low is not None
    assert value.ci_high is not None
    # The normal interval of a mean: a bootstrap of 30 images is near it.
    assert value.ci_high - value.ci_low == pytest.approx(3.92 * float(map_iou(maps, exact).std()) / 30**0.5, rel=0.25)
    assert mask_iou(maps.flip(0), exact.flip(0), names[::-1]) == value


@pytest.fixture
def small_renders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Circles instead of people: the world's renderer draws at any size, but slowly."""

    def block(
        backbone: Backbone, attribute: str, value: str, part: str, indices: range, seed: int
    ) -> dict[str, Tensor]:
        side = backbone.image_size
        exact = torch.zeros(len(indices), 1, side, side)
        exact[:, :, 4:12, 4:12] = 1
        return {"latents": torch.randn(len(indices), *backbone.latent_shape), "exact": exact}

    monkeypatch.setattr("hspace_exp.training.dataset.render_block", block)


@pytest.mark.usefixtures("small_renders")
def test_truth_scores_one_and_nothing_scores_zero(tiny_backbone: Backbone) -> None:
    found = [
        rendered_mask_iou(provider, tiny_backbone, "gender", "gender", CONCEPTS, images=3)
        for provider in (OracleMasks(), NoMasks(), AttentionMasks())
    ]
    assert [v.n for v in found] == [6, 6, 6]
    assert [found[0].value, found[1].value] == [1.0, 0.0]
    assert found[2].value is not None
    assert 0 <= found[2].value < 1


@pytest.mark.usefixtures("small_renders")
def test_command_writes_numbers_and_pictures(tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    arguments = [f"weights={tiny_folder}", f"out={out}", "device=cpu", "images=2", "providers=attention,difference"]
    assert main(arguments) == 0
    report = json.loads((out / "gender.json").read_text())
    assert set(report["results"]) == {"attention", "difference"}
    assert set(report["results"]["attention"]["each"]) == {"female", "male"}
    assert report["results"]["attention"]["iou"]["n"] == 4
    assert report["part"] == "gender"
    assert (out / "gender_difference.png").is_file()
    for wrong, message in (
        ("attribute=hair", "Choices: age, custom, expression, gender"),
        ("providers=sams", "Did you mean 'sam'"),
        ("images=1", "at least 2 images"),
    ):
        assert main([*arguments, wrong]) == 2
        assert message in capsys.readouterr().err


def test_what_is_compared_asks_for_both_kinds_of_heat() -> None:
    assert {p.heat for p in measure.providers("cpu").values()} == {"attention", "difference"}
