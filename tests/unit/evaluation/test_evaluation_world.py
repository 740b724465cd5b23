"""Truth from the embedded world."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections import Counter

import pytest

from hspace_exp.avatars.labelled import Wanted
from hspace_exp.avatars.world import PROFESSIONS
from hspace_exp.errors import UserError
from hspace_exp.evaluation import world
from hspace_exp.evaluation.seen import subject_prompt
from hspace_exp.evaluation.world import labelled_renders, world_truth


def test_truth_is_a_distribution_for_each_profession() -> None:
    truth = world_truth("gender")
    assert tuple(truth) == PROFESSIONS
    assert truth["nurse"] == pytest.approx({"female": 0.9, "male": 0.1})
    assert all(sum(row.values()) == pytest.approx(1) for row in world_truth("skin_tone").values())


def test_unskewed_attributes_have_no_truth() -> None:
    with pytest.raises(UserError, match="unknown skewed attribute 'scene'"):
        world_truth("scene")
    with pytest.raises(UserError, match="unknown attribute 'subject'"):
        labelled_renders("subject", 1)


def test_subject_prompts_are_those_that_the_world_was_captioned_with() -> None:
    from hspace_exp.avatars.captions import Claim

    assert [subject_prompt(p) for p in PROFESSIONS] == [Claim(subject=p).text() for p in PROFESSIONS]


drawing = pytest.mark.skipif(importlib.util.find_spec("resvg_py") is None, reason="needs the extra 'avatars'")


@drawing
def test_labelled_renders_are_balanced_and_repeatable() -> None:
    a = labelled_renders("gender", 72, 16)
    assert labelled_renders("gender", 72, 16) is a
    world._drawn.clear()
    b = labelled_renders("gender", 72, 16)
    assert a.images.shape == (72, 16, 16, 3)
    assert Counter(a.values) == {"female": 36, "male": 36}
    assert a.images.equal(b.images)


@drawing
def test_labelled_renders_of_another_process_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    here = labelled_renders(("gender", "age"), 5, 16)
    world._drawn.clear()
    with monkeypatch.context() as patch, world.drawn_ahead(("gender", "age"), 5, 16):
        patch.setattr(Wanted, "draw", lambda _: pytest.fail("drawn here"))
        there = labelled_renders(("gender", "age"), 5, 16)
    assert there.values == here.values
    assert there.images.equal(here.images)
    there.images[0] = 0  # a tensor of its own, that may be written to
    with world.drawn_ahead(("gender", "age"), 5, 16):
        assert not world._ahead  # they are there already


@drawing
def test_labelled_renders_are_drawn_here_where_the_other_process_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    here = labelled_renders("gender", 5, 16)
    world._drawn.clear()
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with world.drawn_ahead("gender", 5, 16):
        assert labelled_renders("gender", 5, 16).images.equal(here.images)


def test_renders_that_nobody_asked_for_are_given_up() -> None:
    with world.drawn_ahead("gender", 3600, 64):
        [ahead] = world._ahead.values()
    assert not world._ahead
    assert ahead._process.poll() is not None


@drawing
def test_truth_and_labels_of_combinations() -> None:
    row, gender, tone = (
        world_truth(*names)["nurse"] for names in (("gender", "skin_tone"), ("gender",), ("skin_tone",))
    )
    assert row["female+dark"] == pytest.approx(gender["female"] * tone["dark"])
    assert sum(row.values()) == pytest.approx(1)
    values = labelled_renders(("gender", "age"), 144, 16).values
    assert {values.count(value) for value in ("female+young", "female+old", "male+young", "male+old")} == {36}
