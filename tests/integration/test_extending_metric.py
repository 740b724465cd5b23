"""A metric of one's own, as the README's recipe adds it: a module, a YAML file, and an evaluator that lists it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hspace_exp.evaluation.judged_csv import read_judged
from hspace_exp.results.record import read_record

METRIC = '''
from hspace_exp.evaluation.metrics.base import RowMean


class Redness(RowMean):
    """Mean of the red channel."""

    heading, digits, higher_is_better, bounds, by_profession = "Redness", 2, None, (0.0, 1.0), True

    def __init__(self, gain=1.0):
        super().__init__()
        self.gain = gain

    def observe(self, batch):
        return self.gain * batch.edited[:, 0].mean((1, 2)).cpu()
'''
YAML = "redness:\n  _target_: my_metrics.Redness\n  gain: 0.5\n"
EVALUATOR = "defaults:\n  - avatars\n  - /metric@metrics: [redness]\n"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of configurations, with the module it names on Python's path."""
    files = {"mine/metric/redness.yaml": YAML, "mine/evaluator/mine.yaml": EVALUATOR, "my_metrics.py": METRIC}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "mine"


def test_own_metric(cli: Callable[..., Any], study: list[str], mine: Path, tmp_path: Path) -> None:
    plain, run_dir = [*study, "method=original", f"hydra.run.dir={tmp_path / 'run'}"], tmp_path / "run"
    assert cli(*plain).code == 0
    assert "redness" not in read_record(run_dir).metrics
    outcome = cli("--config-dir", str(mine), *plain, "trust=[my_metrics]", "evaluator=mine")
    assert outcome.code == 0, outcome.error
    record = read_record(run_dir)
    shown = record.metrics["redness"]
    assert (shown.heading, shown.digits, shown.higher_is_better) == ("Redness", 2, None)
    assert shown.value is not None
    rows = [float(row["redness"]) for row in read_judged(run_dir)]
    assert shown.value == pytest.approx(sum(rows) / len(rows), abs=1e-5)
    assert 0 < shown.value < 0.5
    assert "redness" in record.per_profession[0]
    assert "deviation_ratio" in record.metrics
    assert f"{shown.value:.2f}" in (run_dir / "table.md").read_text()
    assert "Redness" in (run_dir / "table.md").read_text()
    wrong = cli(
        "--config-dir", str(mine), *plain, "trust=[my_metrics]", "evaluator=mine", "+evaluator.metrics.redness.gian=1"
    )
    assert wrong.code == 2
    assert "unknown key of evaluator.metrics.redness 'gian'. Did you mean 'gain'?" in wrong.error


def test_a_metric_is_added_from_the_command_line(
    cli: Callable[..., Any], study: list[str], mine: Path, tmp_path: Path
) -> None:
    added = [
        "+metric@evaluator.metrics=redness",
        "trust=[my_metrics]",
        "method=original",
        f"hydra.run.dir={tmp_path / 'run'}",
    ]
    refused = cli("--config-dir", str(mine), *study, *[one for one in added if "trust" not in one])
    assert refused.code == 2
    assert "evaluator.metrics.redness._target_ names my_metrics.Redness, which is not ours" in refused.error
    assert "trust=[my_metrics]" in refused.error
    outcome = cli("--config-dir", str(mine), *study, *added)
    assert outcome.code == 0, outcome.error
    assert "redness" in read_record(tmp_path / "run").metrics
