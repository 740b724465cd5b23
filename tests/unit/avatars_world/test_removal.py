"""Whether an outfit is there: renders of known truth, and what is neither with nor without it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from avatars_world.removal import OutfitJudge, RemovalEvaluator
from hspace_exp.avatars import EMBEDDED
from hspace_exp.avatars.labelled import load_labelled
from hspace_exp.errors import UserError
from hspace_exp.evaluation.judged_csv import UNCLEAR
from hspace_exp.io.images import as_float

VALUES = ("bare", "neutral")


class Told:
    """A judge that says what it is told to."""

    name, margin = "told", 0.0
    attributes: Mapping[str, tuple[str, ...]] = {"profession": ("person", "baker", "cook"), "age": ("young", "old")}

    def judge(self, images: Tensor) -> dict[str, Tensor]:
        """Say it."""
        return {"profession": torch.tensor([0, 1, 2, -1]), "age": torch.tensor([0, 1, 0, 1])}


def test_only_plain_clothes_are_a_removal() -> None:
    judge = OutfitJudge(Told(), "hat", VALUES, "cook", lambda _, seen: seen == 0)
    found = judge.judge(torch.zeros(4, 3, 8, 8))
    assert found["hat"].tolist() == [0, -1, 1, -1]  # plain, another outfit, the outfit, unclear
    assert found["age"].tolist() == [0, 1, 0, 1]
    assert dict(judge.attributes) == {"age": ("young", "old"), "hat": VALUES}
    with pytest.raises(UserError, match="unknown profession"):
        OutfitJudge(Told(), "hat", VALUES, "pilot", lambda _, seen: seen == 0)


def test_both_judges_see_the_outfit_on_renders_of_known_truth_and_on_no_others() -> None:
    evaluator = RemovalEvaluator(EMBEDDED, {}, attribute="hard_hat", outfit="construction worker", labelled=0)
    texts = {"hard_hat": dict.fromkeys(VALUES, "")}
    renders = load_labelled()
    rows = [k for k, name in enumerate(renders.labels["subject"]) if name == "construction worker"]
    alike = ("supervisor", "laborer", "guard", "CEO")
    others = [k for k, name in enumerate(renders.labels["subject"]) if name in alike]
    images = as_float(torch.from_numpy(renders.images[rows + others]))
    judges = evaluator.judges(["hard_hat"], texts)
    assert [judge.name for judge in judges] == ["probe", "clip"]
    for judge in judges:
        classes = judge.judge(images)["hard_hat"]
        assert classes[: len(rows)].tolist() == [1] * 6
        assert set(classes[len(rows) :].tolist()) == {-1}, UNCLEAR
        assert not judge.judge(torch.rand(2, 3, 128, 128))["hard_hat"].eq(1).any()
    assert [judge.name for judge in evaluator.judges(["gender"], {})] == ["clip", "probe"]
