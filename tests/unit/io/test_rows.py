"""Tables of text: what goes in comes out, and nobody runs it on the way."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hspace_exp.errors import UserError
from hspace_exp.io.rows import inert, markdown, read_rows, write_rows

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "=", "--", "-x", "'=1", "''@a"]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_written_as_text(text: str, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "x.csv", ["prompt"], [[text]])
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["prompt"], [f"'{text}"]]
    assert read_rows(path, ["prompt"], "") == [{"prompt": text}]


@pytest.mark.parametrize("cell", [-1.5, "-1.5", "+2", 3, "1e-05", "-1e-05", "", "a=b", "'til dawn", "a photo", None])
def test_numbers_and_plain_text_stay(cell: object) -> None:
    assert inert(cell) == str(cell)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), min_size=1), min_size=1))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, cells: list[str]) -> None:
    names = [f"column {i}" for i in range(len(cells))]
    path = write_rows(tmp_path_factory.mktemp("rows") / "x.csv", names, [cells])
    assert read_rows(path, names, "") == [dict(zip(names, cells, strict=True))]


def test_markdown_shows_text_as_it_is() -> None:
    hostile = "a|b `c` <img src=x onerror=y> \\| [x](http://y) ![x](http://y)\n# no heading"
    shown = markdown(hostile)
    assert shown == (
        "a\\|b \\`c\\` \\<img src=x onerror=y> \\\\\\| [x]\\(http://y) ![x]\\(http://y) # no heading"
    )  # fmt: skip
    assert markdown("sdid (a_b) 1 < 2") == "sdid (a_b) 1 \\< 2"
    assert markdown("Command: `a|b <`", kept="`|") == "Command: `a|b \\<`"
    assert markdown(["x", {"y": None}]) == "['x', {'y': None}]"


def test_rows_of_another_length_are_refused_unless_what_lacks_has_a_meaning(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(UserError, match=r"row 2 of .* has fewer cells than the heading"):
        read_rows(path, ["a"], "")
    assert read_rows(path, ["a"], "", absent="")[1] == {"a": "3", "b": ""}
