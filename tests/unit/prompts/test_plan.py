from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from hspace_exp.errors import UserError
from hspace_exp.generation.manifest import read_manifest, write_manifest
from hspace_exp.prompts.plan import plan

TEMPLATES = ("a photo of {a} {profession}", "an image of {a} {profession}")


def test_balanced_plans_give_every_concept_its_share() -> None:
    items = plan(["nurse", "CEO", "cook"], TEMPLATES, 16, ["female", "male"])
    counts = Counter((i.profession, i.target) for i in items)
    assert set(counts.values()) == {8}
    assert items[0].prompt == "a photo of a nurse"
    assert items[1].prompt == "an image of a nurse"
    odd = Counter(i.target for i in plan(["nurse", "CEO", "cook"], TEMPLATES, 5, ["light", "tan", "dark"]))
    assert set(odd.values()) == {5}


def test_other_assignments() -> None:
    assert {i.target for i in plan(["nurse"], TEMPLATES, 9, ["female", "male"], "male")} == {"male"}
    drawn = [i.target for i in plan(["nurse"], TEMPLATES, 200, ["female", "male"], "random", seed=1)]
    assert 70 < drawn.count("female") < 130
    assert drawn[:20] == [i.target for i in plan(["nurse"], TEMPLATES, 20, ["female", "male"], "random", seed=1)]
    assert {i.target for i in plan(["nurse"], TEMPLATES, 3)} == {""}
    with pytest.raises(UserError, match="Did you mean 'female'"):
        plan(["nurse"], TEMPLATES, 1, ["female", "male"], "femal")


def test_files_are_unique_and_safe() -> None:
    items = plan(["construction worker", "CEO"], TEMPLATES, 3)
    assert items[0].file == "construction_worker/0000.png"
    assert items[3].prompt == "a photo of a ceo"
    assert len({i.file for i in items}) == 6


def test_manifests_are_read_back(tmp_path: Path) -> None:
    items = plan(["nurse"], TEMPLATES, 2, ["female", "male"])
    pairs = read_manifest(write_manifest(tmp_path, items, {"female": 1.5, "male": 1.5}, True))
    assert [(p.prompt, p.profession, p.seed_index, p.target) for p in pairs] == [
        (i.prompt, i.profession, i.seed_index, i.target) for i in items
    ]
    assert {p.strength for p in pairs} == {1.5}
    assert pairs[0].edited == tmp_path / "images/edited/nurse/0000.png"
    assert all(p.edited == p.original for p in read_manifest(write_manifest(tmp_path, items, {}, False)))
