"""Judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from hspace_exp.avatars.probe import ATTRIBUTES, AttributeProbe
from hspace_exp.config.checks import check_targets
from hspace_exp.errors import UserError
from hspace_exp.evaluation.judges import PHOTO_TEXTS, ProbeJudge, ZeroShotJudge, with_wordings


class ColourClip:
    """Texts about women are red, about men green; images are embedded by their mean colour."""

    def encode_images(self, images: Tensor) -> Tensor:
        """(B, 3)."""
        return torch.nn.functional.normalize(images.mean((2, 3)), dim=-1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """(T, 3)."""
        return torch.tensor(
            [[1.0, 0, 0] if "woman" in t else [0, 1.0, 0] if "man" in t else [0, 0, 1.0] for t in texts]
        )


def test_zero_shot_takes_the_nearest_text() -> None:
    judge = ZeroShotJudge(ColourClip(), {"gender": PHOTO_TEXTS["gender"]})
    images = torch.tensor([[0.9, 0.1, 0.2], [0.2, 0.7, 0.6], [0.5, 0.4, 0]]).view(3, 3, 1, 1).expand(3, 3, 4, 4)
    assert judge.attributes == {"gender": ("female", "male")}
    assert judge.judge(images)["gender"].tolist() == [0, 1, 0]


def test_an_ensemble_is_the_direction_of_its_mean() -> None:
    texts = {"gender": {"female": ["a woman", "a person"], "male": "a man"}}
    judge = ZeroShotJudge(ColourClip(), texts)
    assert torch.allclose(judge.anchors["gender"], torch.tensor([[0.5**0.5, 0, 0.5**0.5], [0, 1, 0]]))


def test_wordings_replace_the_plain_one() -> None:
    texts = with_wordings({"gender": PHOTO_TEXTS["gender"]}, ["a photo of {}", "a headshot of {}"])
    assert texts["gender"]["female"] == ["a photo of a woman", "a headshot of a woman"]
    with pytest.raises(UserError, match=r"expected \{\} in the wording 'a headshot'"):
        with_wordings(PHOTO_TEXTS, ["a headshot"])


def test_close_calls_are_unclear() -> None:
    images = torch.tensor([[0.9, 0.1, 0], [0.5, 0.45, 0], [0.1, 0.9, 0]]).view(3, 3, 1, 1).expand(3, 3, 4, 4)
    texts = {"gender": PHOTO_TEXTS["gender"]}
    assert ZeroShotJudge(ColourClip(), texts, margin=0.2).judge(images)["gender"].tolist() == [0, -1, 1]
    assert ZeroShotJudge(ColourClip(), texts).judge(images)["gender"].tolist() == [0, 0, 1]


@pytest.mark.parametrize("setting", [{"margin": -1.0}, {"wordings": []}])
def test_settings_of_a_judge_are_checked(setting: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"evaluator\.{next(iter(setting))}=.*: expected "):
        check_targets({"evaluator": {"_target_": "hspace_exp.evaluation.evaluators.PhotoEvaluator", **setting}})


def test_probe_judge_takes_the_largest_logit_of_resized_images() -> None:
    torch.manual_seed(0)
    probe = AttributeProbe(width=8).eval()
    judge = ProbeJudge(probe, ATTRIBUTES)
    images = torch.rand(2, 3, 128, 128)
    with torch.no_grad():
        logits = probe(images)
    found = judge.judge(images)
    assert judge.attributes == ATTRIBUTES
    assert {n: c.tolist() for n, c in found.items()} == {n: v.argmax(1).tolist() for n, v in logits.items()}
    assert judge.judge(torch.rand(2, 3, 96, 96))["scene"].shape == (2,)
