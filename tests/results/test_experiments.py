"""What the README of an experiment claims follows from its records."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
PROMISED = (
    "gender_fairness age_fairness skin_tone_fairness race_fairness intersectional_fairness component_ablation "
    "sensitivity frequency_cutoff strength_sweep composition scene_consistency samplers guidance professions "
    "rivals explicit_prompts removal transformers replication i2p"
)


def test_all_experiments_are_there() -> None:
    assert sorted(PROMISED.split()) == EXPERIMENTS


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_readme_has_question_command_cost_and_numbers(name: str) -> None:
    text = (ROOT / "experiments" / name / "README.md").read_text()
    for part in ("**Question.**", f"+experiment={name}", "**Cost", "Numbers"):
        assert part in text
