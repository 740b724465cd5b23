"""The form of a metric's number."""

from __future__ import annotations

from hspace_exp.evaluation.value import MetricValue


def test_what_is_optional_is_written_only_where_there_is_something_to_say() -> None:
    plain = {"value": 0.5, "ci_low": None, "ci_high": None, "n": 3, "higher_is_better": True}
    assert MetricValue(0.5, None, None, 3, True).to_json() == plain
    shown = MetricValue(0.5, None, None, 3, True, heading="Smiles", digits=0)
    assert shown.to_json() == {**plain, "heading": "Smiles", "digits": 0}
    assert MetricValue(**shown.to_json()) == shown
