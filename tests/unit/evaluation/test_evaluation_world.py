"""Truth from the embedded world."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hspace_exp.avatars.world import PROFESSIONS
from hspace_exp.evaluation.judged import subject_prompt
from hspace_exp.evaluation.world import (
    MASKED,
    Renders,
    labelled_renders,
    map_iou,
    mask_iou,
    mask_ious,
    shipped_renders,
    world_truth,
)
from hspace_exp.masks.attention import AttentionMasks
from hspace_exp.masks.none import NoMasks
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import ConceptPrompts, Group

WOMAN = ConceptPrompts("a photo of a woman", "a photo of a person", "woman")
MAN = ConceptPrompts("a photo of a man", "a photo of a person", "man")
GENDER = Group("gender", "gender", {"female": WOMAN, "male": MAN})
OWN = Group("smile", "person", {"smiling": WOMAN})


def test_truth_is_a_distribution_for_each_profession() -> None:
    truth = world_truth("gender")
    assert tuple(truth) == PROFESSIONS
    assert truth["nurse"] == pytest.approx({"female": 0.9, "male": 0.1})
    assert all(sum(row.values()) == pytest.approx(1) for row in world_truth("skin_tone").values())


def test_subject_prompts_are_those_that_the_world_was_captioned_with() -> None:
    from hspace_exp.avatars.world import judge_texts

    assert {name: subject_prompt(name) for name in PROFESSIONS} == judge_texts()["profession"]


def test_truth_and_labels_of_combinations() -> None:
    row, gender, tone = (
        world_truth(*names)["nurse"] for names in (("gender", "skin_tone"), ("gender",), ("skin_tone",))
    )
    assert row["female+dark"] == pytest.approx(gender["female"] * tone["dark"])
    assert sum(row.values()) == pytest.approx(1)
    found = labelled_renders(["gender", "age"], 144)
    assert found.images.shape == (144, 128, 128, 3)
    combinations = ("female+young", "female+old", "male+young", "male+old")
    assert {found.values.count(value) for value in combinations} == {36}


def test_iou_by_hand() -> None:
    maps, exact = torch.zeros(4, 1, 4, 4), torch.zeros(4, 1, 4, 4)
    exact[:3, :, :2] = 1  # 8 pixels
    maps[0, :, :2] = 0.5  # the same
    maps[1, :, 1:3] = 0.9  # half of it, and as much beside
    maps[2, :, 2:] = 1  # nothing of it
    torch.testing.assert_close(map_iou(maps, exact), torch.tensor([1, 1 / 3, 0, 1]))


def test_mean_and_interval_do_not_depend_on_order() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = (torch.rand(30, 1, 6, 6, generator=generator) > 0.4).float()
    exact = (torch.rand(30, 1, 6, 6, generator=generator) > 0.4).float()
    none = torch.zeros(0)

    def renders(exact: Tensor, indices: range) -> Renders:
        return Renders(none, none, exact, ("female",) * 30, tuple(indices))

    value = mask_iou(maps, renders(exact, range(30)))
    assert value.value == pytest.approx(float(map_iou(maps, exact).mean()), abs=1e-5)
    assert value.ci_low is not None
    assert value.ci_high is not None
    # The normal interval of a mean: a bootstrap of 30 images is near it.
    assert value.ci_high - value.ci_low == pytest.approx(3.92 * float(map_iou(maps, exact).std()) / 30**0.5, rel=0.25)
    assert mask_iou(maps.flip(0), renders(exact.flip(0), range(29, -1, -1))) == value


def test_maps_are_compared_on_the_shipped_renders(tiny_backbone: Backbone) -> None:
    found = shipped_renders(tiny_backbone, GENDER, 36)
    assert found is not None
    side = tiny_backbone.image_size
    assert found.images.shape == (36, side, side, 3)
    assert found.exact.shape == (36, 1, side, side)
    assert set(found.exact.unique().tolist()) == {0, 1}
    assert found.names.count("female") == 18
    assert shipped_renders(tiny_backbone, OWN) is None


def test_the_truth_scores_one_and_nothing_scores_zero(tiny_backbone: Backbone) -> None:
    class Truth(NoMasks):
        def maps(self, images: Tensor, heatmaps: Tensor | None = None) -> Tensor:
            asked = next(names)
            return whole.exact[[i for i, name in enumerate(whole.names) if name == asked]]

    whole = shipped_renders(tiny_backbone, GENDER)
    assert whole is not None
    names = iter(GENDER.concepts)
    assert mask_ious(Truth(), tiny_backbone, [GENDER])["mask_iou"].value == 1
    nothing = mask_ious(NoMasks(), tiny_backbone, [GENDER, OWN])
    assert list(nothing) == ["mask_iou_gender"]
    assert (nothing["mask_iou_gender"].value, nothing["mask_iou_gender"].n) == (0, MASKED)
    some = mask_ious(AttentionMasks(), tiny_backbone, [GENDER])["mask_iou"].value
    assert some is not None
    assert 0 <= some < 1
