"""When a run is done."""

from __future__ import annotations

from typing import Any

import pytest

from hspace_exp.results.record import lacking

SUCCESS, LPIPS = {"_target_": "a.Success"}, {"_target_": "a.Lpips", "backbone": "alex", "device": "cpu"}


def config(**metrics: Any) -> dict[str, Any]:
    return {"evaluator": {"metrics": metrics}}


@pytest.mark.parametrize(
    ("held", "asked", "names"),
    [
        (config(success=SUCCESS), config(success=SUCCESS), set()),
        (config(success=SUCCESS), config(success=SUCCESS, lpips=LPIPS), {"lpips"}),
        (config(success=SUCCESS, lpips=LPIPS), config(success=SUCCESS), set()),
        (config(lpips=LPIPS), config(lpips={**LPIPS, "backbone": "vgg"}), {"lpips"}),
        (config(lpips=LPIPS), config(lpips={**LPIPS, "device": "cuda"}), set()),
        ({"evaluator": {"repeats": 10}}, config(success=SUCCESS), set()),  # of version 0.1
    ],
)
def test_a_run_is_evaluated_again_for_metrics_that_its_record_lacks(held: Any, asked: Any, names: set[str]) -> None:
    assert lacking(held, asked) == names
