"""Rows of single images and what they say about entanglement."""

from __future__ import annotations

from pathlib import Path

import pytest

from hspace_exp.errors import UserError
from hspace_exp.evaluation.judged_csv import entanglement_matrix, read_judged, write_judged


def row(target: str, age: tuple[str, str], scene: tuple[str, str], index: int = 0) -> dict[str, object]:
    made: dict[str, object] = {"profession": "nurse", "prompt": "a photo", "seed_index": index, "target": target}
    for name, (before, after) in (("age", age), ("scene", scene)):
        made |= {f"clip.{name}.before": before, f"clip.{name}.after": after}
    return made | {"probe.age.before": "old", "probe.age.after": "young"}


ROWS = [
    row("female", ("old", "young"), ("city", "city"), 0),
    row("female", ("old", "old"), ("unclear", "city"), 1),
    row("male", ("old", "old"), ("city", "office"), 2),
]


def test_what_was_asked_for_against_what_changed() -> None:
    assert entanglement_matrix(ROWS, "clip") == {
        "female": {"age": 0.5, "scene": 0.0},
        "male": {"age": 0.0, "scene": 1.0},
    }
    assert entanglement_matrix(ROWS, "probe") == {"female": {"age": 1.0}, "male": {"age": 1.0}}


def test_written_rows_are_read_again(tmp_path: Path) -> None:
    write_judged(tmp_path, ROWS)
    assert read_judged(tmp_path) == [{name: str(value) for name, value in one.items()} for one in ROWS]


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="evaluate the run again"):
        read_judged(tmp_path)
    (tmp_path / "judged.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="lacks the columns profession"):
        read_judged(tmp_path)
