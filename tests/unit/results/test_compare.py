"""Whether two runs differ by more than chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import permutation_test

from hspace_exp.commands import start
from hspace_exp.errors import UserError
from hspace_exp.evaluation.judged_csv import write_judged
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.results.compare import compare, holm
from hspace_exp.results.record import RunRecord

PROFESSIONS = ("nurse", "cook", "CEO")


def rows(seed: int, success: float, women: float, target: bool = True) -> list[dict[str, str]]:
    rng = np.random.default_rng(seed)
    return [
        {
            "profession": profession,
            "prompt": f"a photo of a {profession}",
            "seed_index": str(i),
            "target": ("female", "male")[i % 2] if target else "",
            "clip.gender.before": "male",
            "clip.gender.after": "female" if rng.random() < women else "male",
            "success": str(float(rng.random() < success)) if target else "",
        }
        for profession in PROFESSIONS
        for i in range(12)
    ]


def test_means_agree_with_scipy() -> None:
    a, b = rows(0, 0.9, 0.5), rows(1, 0.6, 0.5)
    (found,) = compare(a, b, "gender", ["success"], repeats=4000)
    values = [np.array([float(row["success"]) for row in one]) for one in (a, b)]
    expected = permutation_test(
        values,
        lambda x, y: x.mean() - y.mean(),
        permutation_type="samples",
        n_resamples=4000,
        rng=np.random.default_rng(0),
    )
    assert found.first - found.second == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue, abs=0.02)
    assert found.n == 36


def test_deviation_ratios_are_compared_profession_by_profession() -> None:
    fair, unfair = rows(0, 0.9, 0.5), rows(1, 0.9, 1.0)
    (found,) = compare(unfair, fair, "gender", ["deviation_ratio"], repeats=500)
    assert found.first == 1
    women = [
        np.mean([r["clip.gender.after"] == "female" for r in fair if r["profession"] == p])
        for p in ("nurse", "cook", "CEO")
    ]
    assert found.second == pytest.approx(np.mean([abs(2 * w - 1) for w in women]))
    assert found.p < 0.01
    (three,) = compare(unfair, fair, "gender", ["deviation_ratio"], values=["female", "male", "neither"], repeats=9)
    assert three.second > found.second
    (same,) = compare(fair, fair, "gender", ["deviation_ratio"], repeats=50)
    assert same.p == 1


def test_the_second_judge_has_a_deviation_ratio_of_its_own() -> None:
    first, second = rows(0, 0.9, 0.5), rows(1, 0.9, 1.0)
    for row in (*first, *second):
        row["probe.gender.after"] = "female" if row["profession"] == "nurse" else "male"
    by_clip, by_probe = compare(
        first, second, "gender", ["deviation_ratio", "deviation_ratio_probe"], values=["female", "male"], repeats=50
    )
    assert by_clip.first < by_clip.second
    assert (by_probe.first, by_probe.second, by_probe.p) == (1, 1, 1)
    with pytest.raises(UserError, match="no prob judged gender"):
        compare(first, second, "gender", ["deviation_ratio_prob"], repeats=50)


def test_order_does_not_matter_and_the_unedited_model_has_no_targets() -> None:
    a, b = rows(0, 0.9, 0.5), rows(1, 0.9, 0.9, target=False)
    found = compare(a, b, "gender", ["deviation_ratio", "success"], repeats=200)
    assert [one.metric for one in found] == ["deviation_ratio"]
    assert compare(a, b[::-1], "gender", ["deviation_ratio"], repeats=200) == found


def test_bad_input_is_one_clear_line() -> None:
    a = rows(0, 0.9, 0.5)
    with pytest.raises(UserError, match="no image is in both"):
        compare(a, [{**row, "profession": "baker"} for row in a], "gender", ["success"], repeats=10)
    with pytest.raises(UserError, match=r"unknown metric 'succes'\. Did you mean 'success'"):
        compare(a, a, "gender", ["succes"], repeats=10)
    with pytest.raises(UserError, match="no judge judged age"):
        compare(a, a, "age", ["deviation_ratio"], repeats=10)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i, attribute in enumerate(("gender", "gender", "age")):
        write_judged(tmp_path / str(i), rows(i, 0.9 - 0.4 * i, 0.5))
        measured = {"deviation_ratio": MetricValue(0.5, None, None, 8, False)}
        told = "m", "avatars", attribute, 0, measured, [], {"i": i}, {}, None, "CPU", {}
        RunRecord("e", *told).write(tmp_path / str(i))
    assert start(["compare", str(tmp_path / "0"), str(tmp_path / "1"), "--repeats", "200"]) == 0
    shown = capsys.readouterr().out
    assert "| success |" in shown
    assert "| deviation_ratio |" in shown
    assert start(["compare", str(tmp_path / "0"), str(tmp_path / "2")]) == 2
    assert "different attributes: gender and age" in capsys.readouterr().err
    assert start(["compare", str(tmp_path / "0")]) == 2


def test_a_ratio_that_a_run_does_not_have_is_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(2):
        write_judged(tmp_path / str(i), rows(i, 0.9, 0.5))
        measured = {"deviation_ratio": MetricValue(0.5, None, None, 8, False)} if i else {}
        RunRecord("e", "m", "avatars", "gender", 0, measured, [], {}, {}, None, "CPU", {}).write(tmp_path / str(i))
    assert start(["compare", str(tmp_path / "0"), str(tmp_path / "1"), "--repeats", "20"]) == 0
    shown = capsys.readouterr().out
    assert "| success |" in shown
    assert "deviation_ratio" not in shown


def test_runs_of_different_protocols_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(2):
        write_judged(tmp_path / str(i), rows(i, 0.9, 0.5))
        config = {"protocol": {"num_inference_steps": 8 + i, "image_seed": 0}}
        RunRecord("e", "m", "avatars", "gender", 0, {}, [], config, {}, None, "CPU", {}).write(tmp_path / str(i))
    assert start(["compare", str(tmp_path / "0"), str(tmp_path / "1"), "--repeats", "20"]) == 2
    assert "different protocols (num_inference_steps)" in capsys.readouterr().err


def test_far_methods_give_the_least_p_possible_and_p_is_uniform_when_nothing_differs() -> None:
    far, near = rows(0, 1.0, 0.5), rows(1, 0.0, 0.5)
    (found,) = compare(far, near, "gender", ["success"], repeats=99)
    assert found.p == pytest.approx(0.02)  # twice the least of one side
    ps = []
    for i in range(100):
        (one,) = compare(rows(2 * i, 0.5, 0.5), rows(2 * i + 1, 0.5, 0.5), "gender", ["success"], repeats=39)
        ps.append(one.p)
    assert np.mean(np.array(ps) <= 0.25) == pytest.approx(0.25, abs=0.15)
    with pytest.raises(UserError, match="at least 1 permutation"):
        compare(far, near, "gender", ["success"], repeats=0)


def test_holm_corrects_step_by_step() -> None:
    # Sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2 (not below the one before), 0.9 x 1.
    assert holm([0.03, 0.01, 0.9, 0.02]) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert holm([0.5, 0.6]) == [1, 1]
    assert holm([]) == []


@pytest.mark.parametrize("cell", ["abc", "é", "nan", "inf"])
def test_a_cell_that_is_no_number_is_named_in_one_line(cell: str) -> None:
    a, b = rows(0, 0.9, 0.5), rows(1, 0.6, 0.5)
    a[3]["success"] = cell
    with pytest.raises(UserError, match=r"the column success cannot be had .*: evaluate these runs again"):
        compare(a, b, "gender", ["success"], repeats=10)


def test_a_judge_that_one_run_lacks_is_named(tmp_path: Path) -> None:
    a, b = rows(0, 0.9, 0.5), rows(1, 0.6, 0.5)
    for row in b:
        del row["clip.gender.after"]
    with pytest.raises(UserError, match="no judge judged gender in these runs"):
        compare(a, b, "gender", ["deviation_ratio"], repeats=10)
