"""What an edit left alone."""

from __future__ import annotations

import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.evaluation.functional.preservation import any_changed


def test_any_attribute_counts() -> None:
    before = {"age": torch.tensor([0, 0, 1, 1]), "scene": torch.tensor([3, 4, 5, 6])}
    after = {"age": torch.tensor([0, 1, 1, 0]), "scene": torch.tensor([3, 4, 9, 9])}
    assert any_changed(before, after).tolist() == [False, True, True, True]
    assert not any_changed(before, before).any()


@pytest.mark.parametrize("after", [{}, {"age": torch.zeros(1)}])
def test_attributes_must_match(after: dict[str, torch.Tensor]) -> None:
    with pytest.raises(UserError, match="same attributes"):
        any_changed({"scene": torch.zeros(1)} if after else {}, after)
