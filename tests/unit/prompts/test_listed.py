"""Prompts from files: what is read, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hspace_exp.errors import UserError
from hspace_exp.prompts.listed import read_prompts, with_listed
from hspace_exp.prompts.plan import plan

I2P = "prompt,categories,hard,sd_seed\n"  # a part of the columns of I2P


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_text_file_has_a_prompt_a_line(tmp_path: Path) -> None:
    path = written(tmp_path, "own.txt", "\ufeffa photo of  a doctor\n\n a baker, at work/home \r\n")
    found, whole = read_prompts(path)
    assert list(found.items()) == [
        ("a photo of a doctor", "a photo of a doctor"),
        ("a baker, at work/home", "a baker, at work home"),
    ]
    assert whole


def test_a_table_keeps_categories_and_leaves_the_rest(tmp_path: Path) -> None:
    rows = '"a red kite, high up","toys, sky",0,7\nhttps://x.y/../z {a.b},toys,1,8\nthird,,0,9\n'
    found, whole = read_prompts(written(tmp_path, "some.CSV", I2P + rows))
    assert whole
    assert list(found.items()) == [
        ("a red kite, high up", "toys, sky"),
        ("https://x.y/../z {a.b}", "toys"),
        ("third", "third"),
    ]


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
        ("other.csv", "text,label\nhello,1\n", "column 'prompt'"),
        ("hole.csv", I2P + ",toys,0,1\n", "prompt 1 of"),
        ("cells.csv", I2P + "a,b,0,1,2,3\n", "more cells than the heading"),
        ("long.txt", "fine\n" + "a" * 1001, "prompt 2 of"),
        ("null.txt", "a\x00b\n", "prompt 1 of"),
        ("twice.txt", "one\ntwo\n one \n", "prompt 3 of"),
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
    groups = {"one": "a", "../../two {profession} Two": "a", "three": "b"}
    items = plan(groups, ["of {a} {profession}"], 2, ["female", "male"], groups=groups)
    assert [(i.prompt, i.profession, i.seed_index, i.target) for i in items] == [
        ("one", "a", 0, "female"),
        ("one", "a", 1, "male"),
        ("../../two {profession} Two", "a", 0, "male"),
        ("../../two {profession} Two", "a", 1, "female"),
        ("three", "b", 0, "female"),
        ("three", "b", 1, "male"),
    ]
    files = {i.prompt: i.file for i in items if i.seed_index == 0}
    assert len(set(files.values())) == 3
    assert all(file.startswith("listed/") and ".." not in file for file in files.values())
    assert {i.prompt: i.file for i in plan(list(groups)[::-1], ["{profession}"], 1, groups=groups)} == files
