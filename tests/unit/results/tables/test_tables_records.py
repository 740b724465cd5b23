"""Rows of one method with several configurations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hspace_exp.evaluation.value import MetricValue
from hspace_exp.results.record import RunRecord
from hspace_exp.results.runs import Run
from hspace_exp.results.tables.build import merge_seeds
from hspace_exp.results.tables.footers import footers, joined
from hspace_exp.results.tables.records import by_row, by_strength, labels, order


def run(method: str = "lwim", seed: int = 0, success: float = 0.5, /, **config: Any) -> RunRecord:
    """A record of a configuration."""
    settings = {"seed": seed, "method": {"name": method}, "frequency": {"weight": 0.35}, **config}
    metrics = {"success": MetricValue(success, None, None, 16, True)}
    return RunRecord("x", method, "avatars", "gender", seed, metrics, [], settings, {}, None, "CPU", {})


def strong(method: str, strength: float, success: float = 0.5, seed: int = 0, **config: Any) -> RunRecord:
    return run(method, seed, success, method={"name": method, "strength": strength}, **config)


def rows(*records: RunRecord) -> dict[str, list[RunRecord]]:
    return by_row([Run(Path(), record) for record in records])


def test_one_configuration_is_its_method() -> None:
    assert labels([run()]) == ["lwim"]


def test_what_is_varied_everywhere_is_always_said() -> None:
    assert labels([strong("sdid", 0.5), strong("sdid", 1.5)]) == ["sdid, strength 0.5", "sdid, strength 1.5"]


def test_one_at_a_time_says_what_left_the_usual_value() -> None:
    def tried(tau: float, beta: float, weight: float) -> RunRecord:
        training = {"objective": {"threshold": tau, "beta": beta}}
        return run(method={"name": "lwim", "training": training}, frequency={"weight": weight})

    records = [tried(0.3, 0.4, 0.35), tried(0.5, 0.4, 0.2), tried(0.5, 0.6, 0.35), tried(0.5, 0.4, 0.35)]
    records.append(tried(0.5, 0.4, 0.5))
    assert labels(records) == ["lwim, τ 0.3", "lwim, λ 0.2", "lwim, β 0.6", "lwim", "lwim, λ 0.5"]
    assert order(records) == [3, 1, 4, 2, 0]  # the usual one first, then by number


def test_the_fewest_keys_are_named() -> None:
    kinds = [{"_target_": "a", "_partial_": True, "kind": "native"}, {"_target_": "b", "kind": "dpm"}]
    assert labels([run(scheduler=k) for k in kinds]) == ["lwim, sampler native", "lwim, sampler dpm"]


def test_an_absent_value_is_not_printed() -> None:
    records = [run(frequency={"weight": 0.35, "transform": t}) for t in ({"levels": 1}, {"cutoff": 0.5}, {"levels": 2})]
    assert labels(records) == ["lwim, Haar levels 1", "lwim, FFT radius 0.5", "lwim, Haar levels 2"]


def test_what_is_absent_is_said_where_nothing_else_tells_two_rows_apart() -> None:
    def tried(threshold: float, **attribute: str) -> RunRecord:
        training = {"objective": {"threshold": threshold}}
        return run(method={"name": "lwim", "training": training}, attribute={"name": "gender", **attribute})

    said = {"neutral": "a person"}
    records = [tried(0.5, **said), tried(0.5), tried(0.3, **said)]
    assert labels(records) == ["lwim", "lwim, neutral absent", "lwim, τ 0.3"]


def test_the_fields_own_words_are_preferred() -> None:
    def low(name: str, **values: float) -> dict[str, Any]:
        return {"weight": 0.35, "transform": {"_target_": f"hspace_exp.methods.frequency.{name}", **values}}

    records = [
        run(frequency=f) for f in (low("haar", levels=1), low("fft", cutoff=0.5), {"weight": 0.0, "source": "x"})
    ]
    assert labels(records) == ["lwim, Haar levels 1", "lwim, FFT radius 0.5", "lwim, λ 0"]
    masks = [run(mask={"_target_": f"hspace_exp.masks.{name}"}) for name in ("sam.SamMasks", "none.NoMasks")]
    assert labels(masks) == ["lwim, mask SamMasks", "lwim, mask NoMasks"]


def test_strengths_of_single_concepts_are_named() -> None:
    def strengths(female: float, young: float) -> RunRecord:
        return run(method={"name": "lwim", "strength": {"female": female, "male": female, "young": young}})

    assert labels([strengths(0, 1.5), strengths(1.5, 1.5), strengths(1.5, 0)]) == [
        "lwim, strength of female 0", "lwim", "lwim, strength of young 0"
    ]  # fmt: skip


def test_strengths_are_sorted_as_numbers_and_seeds_share_a_row() -> None:
    found = rows(strong("sdid", 10), strong("sdid", 2), strong("sdid", 2, seed=1), strong("lwim", 1))
    assert list(found) == ["sdid, strength 2", "sdid, strength 10", "lwim"]
    assert [r.seed for r in found["sdid, strength 2"]] == [0, 1]


def test_strength_of_a_record() -> None:
    assert strong("sdid", 2).strength == 2
    assert strong("original", 0).strength is None
    assert run(method={"name": "m", "strength": {"a": 1.5, "b": 1.5}}).strength == 1.5
    assert run(method={"name": "m", "strength": {"a": 1.5, "b": 2.0}}).strength is None


def test_a_table_says_where_strengths_come_from() -> None:
    def found(strength: float, reached: bool = True) -> dict[str, Any]:
        concepts = {"female": {"strength": strength, "reached": reached}}
        return {"calibration": {"settings": {"success": 0.95}, "guidance_scale": 3.0, "concepts": concepts}}

    auto = {"name": "sdid", "strength": "auto"}
    records = [
        replace(run("sdid", method=auto), details=found(1.5)),
        replace(run("sdid", 1, method=auto), details=found(2.0, False)),
    ]
    shown = footers(rows(*records, strong("lwim", 2, 0.5), strong("original", 0)), {}, [])
    (calibrated,) = [line for line in shown if line.startswith("Strengths are the least that reach success 0.95")]
    assert "guidance 3" in calibrated
    assert calibrated.endswith("sdid: female 1.5, 2*.")
    assert "Strengths were given, not found by calibration: lwim." in shown


def test_other_settings_are_other_lines() -> None:
    some = [strong("sdid", s, s / 10, frequency={"weight": w}) for w in (0.0, 0.5) for s in (1, 2)]
    found = rows(*some)
    merged = {label: merge_seeds(records) for label, records in found.items()}
    lines = by_strength(found, merged, "success")
    assert {name: {s: m.value for s, m in line.items()} for name, line in lines.items()} == {
        "sdid": {1: 0.1, 2: 0.2},
        "sdid #2": {1: 0.1, 2: 0.2},
    }


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        (["a=1 b=2", "a=1 b=3"], ["-m a=1 b=2,3"]),
        (["a=1 b=2", "a=1 b=2"], ["a=1 b=2"]),
        (["a=1 b=2", "a=2 b=3"], ["a=1 b=2", "a=2 b=3"]),  # half a grid would make more runs than there are
        (["a=1", "a=1 b=3"], ["a=1", "a=1 b=3"]),
        (["evaluate images=a", "evaluate images=b"], ["evaluate images=a", "evaluate images=b"]),  # knows no -m
        (["a=1 b=x", "a=2 b=x", "a=1 b=y", "a=2 b=y"], ["-m a=1,2 b=x,y"]),
    ],
)
def test_commands_of_a_grid_become_one(commands: list[str], expected: list[str]) -> None:
    start = "python -m hspace_exp "
    assert joined([start + c for c in commands]) == [start + c for c in expected]
