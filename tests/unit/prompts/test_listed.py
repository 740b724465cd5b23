"""Prompts from files: what is read, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hspace_exp.errors import UserError
from hspace_exp.prompts.listed import Listed, read_prompts, with_listed
from hspace_exp.prompts.plan import plan_listed

I2P = "prompt,categories,hard,sd_seed\n"  # a part of the columns of I2P


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_text_file_has_a_prompt_a_line(tmp_path: Path) -> None:
    path = written(tmp_path, "own.txt", "\ufeffa photo of  a doctor\n\n a baker, at work/home \r\n")
    assert read_prompts(path) == [
        Listed("a photo of a doctor", "a photo of a doctor"),
        Listed("a baker, at work/home", "a baker, at work home"),
    ]


def test_a_table_keeps_categories_and_leaves_the_rest(tmp_path: Path) -> None:
    rows = '"a red kite, high up","toys, sky",0,7\nhttps://x.y/../z {a.b},toys,1,8\nthird,,0,9\n'
    found = read_prompts(written(tmp_path, "some.CSV", I2P + rows))
    assert [(row.prompt, row.group) for row in found] == [
        ("a red kite, high up", "toys, sky"),
        ("https://x.y/../z {a.b}", "toys"),
        ("third", "third"),
    ]


def test_long_prompts_that_begin_alike_are_groups_of_their_own(tmp_path: Path) -> None:
    found = read_prompts(written(tmp_path, "long.txt", f"{'a' * 200} b\n{'a' * 200} c\n"))
    assert [row.group for row in found] == ["a" * 100, "a" * 100 + " #2"]


def test_subjects_are_for_templates_and_described_by_themselves(tmp_path: Path) -> None:
    path = written(tmp_path, "jobs.csv", "profession\npilot\nfashion designer\n")
    config = {"prompts": {"file": str(path), "listed": "", "professions": ["nurse"]}, "protocol": {}}
    with_listed(config)
    assert config == {
        "prompts": {"professions": ["pilot", "fashion designer"]},
        "protocol": {"professions": ["pilot", "fashion designer"]},
    }


def test_without_a_file_a_configuration_is_what_it_was() -> None:
    config: dict[str, Any] = {"prompts": {"file": "", "listed": "", "professions": ["nurse"]}, "protocol": {}}
    with_listed(config)
    assert config == {"prompts": {"professions": ["nurse"]}, "protocol": {}}


def test_the_configuration_tells_content_and_groups_not_prompts(tmp_path: Path) -> None:
    found = []
    for rows in ("one,a,0,1\ntwo,b,0,1\n", "one,a,5,5\ntwo,b,5,5\n", "one,a,0,1\nsix,b,0,1\n"):
        path = written(tmp_path, "i2p.csv", I2P + rows)
        config: dict[str, Any] = {"prompts": {"file": str(path), "professions": ["nurse"]}, "protocol": {}}
        with_listed(config)
        assert config["protocol"]["professions"] == config["prompts"]["professions"] == ["a", "b"]
        found.append(config["prompts"]["listed"])
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("no.txt", None, "no such file"),
        ("empty.txt", "", "lists no prompts"),
        ("blank.txt", " \n\n", "lists no prompts"),
        ("heading.csv", I2P, "lists no prompts"),
        ("latin.txt", "caf\u00e9".encode("latin-1"), "UTF-8"),
        ("latin.csv", I2P.encode() + b"caf\xe9,a,0,1\n", "UTF-8"),
        ("other.csv", "text,label\nhello,1\n", "lacks the column 'prompt'"),
        ("hole.csv", I2P + ",toys,0,1\n", "row 1 of"),
        ("cells.csv", I2P + "a,b,0,1,2,3\n", "more cells than the heading"),
        ("long.txt", "fine\n" + "a" * 1001, "row 2 of"),
        ("null.txt", "a\x00b\n", "row 1 of"),
        ("twice.txt", "one\ntwo\n one \n", "rows 1 and 3 of"),
        ("large.txt", b"a" * (2**24 + 1), "larger than"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, name: str, content: str | bytes | None, told: str) -> None:
    path = tmp_path / name if content is None else written(tmp_path, name, content)
    with pytest.raises(UserError, match=told) as error:
        read_prompts(path)
    assert name in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_images_are_named_by_their_prompt_alone() -> None:
    rows = [Listed("one", "a"), Listed("../../two", "a"), Listed("three", "b")]
    items = plan_listed(rows, 2, ["female", "male"], "balanced")
    assert [(i.prompt, i.profession, i.seed_index, i.target) for i in items] == [
        ("one", "a", 0, "female"),
        ("one", "a", 1, "male"),
        ("../../two", "a", 0, "male"),
        ("../../two", "a", 1, "female"),
        ("three", "b", 0, "female"),
        ("three", "b", 1, "male"),
    ]
    files = {i.prompt: i.file for i in items if i.seed_index == 0}
    assert len(set(files.values())) == 3
    assert all(file.startswith("listed/") and ".." not in file for file in files.values())
    assert {i.prompt: i.file for i in plan_listed(rows[::-1], 1, [], "balanced")} == files
