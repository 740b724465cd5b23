"""What the README of an experiment claims follows from its records."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from hspace_exp.results.record import FILE_NAME, read_record

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
PROMISED = (
    "gender_fairness age_fairness skin_tone_fairness race_fairness intersectional_fairness component_ablation "
    "h_space_comparison sensitivity frequency_cutoff strength_sweep composition scene_consistency scheduler_swap"
)
NUMBER = re.compile(r"(?<![\w.])-?\d*\.\d+")


def results(experiment: str) -> Path:
    """Where an experiment's records are kept."""
    return ROOT / "experiments" / experiment / "results"


def known(experiment: str) -> Iterator[float]:
    """Numbers of an experiment's records, and of the tables that follow from them, where seeds are pooled."""
    for table in (ROOT / "tables" / "full" / "avatars" / f"{experiment}.md", results(experiment) / "table.md"):
        if table.exists():
            yield from map(float, NUMBER.findall(table.read_text()))
    over_seeds = defaultdict(list)
    for path in results(experiment).rglob(FILE_NAME):
        record = read_record(path.parent)
        yield from record.seconds.values()
        for name, metric in record.metrics.items():
            yield from (v for v in metric.to_json().values() if isinstance(v, float | int))
            if metric.value is not None:
                over_seeds[path.parent.parent, name].append(metric.value)
        for row in record.per_profession:
            yield from (v for v in row.values() if isinstance(v, float | int))
    for values in over_seeds.values():
        mean = sum(values) / len(values)
        yield from (mean, 1 - mean)  # of what changed: of what was kept


def test_all_experiments_are_there() -> None:
    assert sorted(PROMISED.split()) == EXPERIMENTS


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_readme_has_question_command_cost_and_numbers(name: str) -> None:
    text = (ROOT / "experiments" / name / "README.md").read_text()
    for part in ("**Question.**", f"+experiment={name}", "**Cost", "Numbers"):
        assert part in text


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name != "race_fairness"])  # needs other weights
def test_numbers_in_a_readme_follow_from_its_records(name: str) -> None:
    lines = (ROOT / "experiments" / name / "README.md").read_text().splitlines()
    rows = [line.strip("|").split("|")[1:] for line in lines if line.startswith("|")]
    written = [text for cell in chain(*rows) for text in NUMBER.findall(cell)]
    values = sorted({abs(value) for value in known(name)})
    assert written
    for text in written:
        reach = 0.5 * 10 ** -len(text.partition(".")[2]) + 1e-9
        assert any(abs(value - abs(float(text))) <= reach for value in values), text
