from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.generation.generate import claim, generate, sample_chunk, take_originals
from hspace_exp.io import progress
from hspace_exp.io.images import load_images, save_all, to_uint8
from hspace_exp.methods.frequency import LowFrequency, haar_lowpass
from hspace_exp.methods.steering import AddedVector
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.prompts.plan import Item, plan

TEMPLATES = ("a photo of {a} {profession}", "an image of {a} {profession}")
SAMPLING = Sampling(2, make_scheduler, chunk_size=2)


def edit(backbone: Backbone, strength: float, frequency: LowFrequency, branch: str = "both") -> AddedVector:
    random = torch.Generator().manual_seed(0)
    vectors = {name: torch.randn(backbone.h_shape, generator=random) for name in ("female", "male")}
    return AddedVector(vectors, strength, branch, frequency)


def test_generation_resumes_with_the_very_same_images(tiny_backbone: Backbone, tmp_path: Path) -> None:
    items = plan(["nurse", "doctor"], TEMPLATES, 3)
    assert generate(tiny_backbone, SAMPLING, items, tmp_path / "a") == 6
    assert generate(tiny_backbone, SAMPLING, items, tmp_path / "a") == 0
    assert generate(tiny_backbone, SAMPLING, items, tmp_path / "b") == 6
    for item in (items[1], items[4]):
        (tmp_path / "b" / item.file).unlink()
    assert generate(tiny_backbone, SAMPLING, items, tmp_path / "b") == 2
    for item in items:
        assert (tmp_path / "a" / item.file).read_bytes() == (tmp_path / "b" / item.file).read_bytes()


def test_chunks_that_another_process_makes_are_left_to_it_or_made_when_it_is_gone(
    tiny_backbone: Backbone, tmp_path: Path
) -> None:
    items = plan(["nurse", "doctor"], TEMPLATES, 3, ["female", "male"])
    change = edit(tiny_backbone, 3.0, LowFrequency(0.35, "original", haar_lowpass))
    asked: list[tuple[str, bool]] = []
    opened: list[str] = []

    def lock(name: str, wait: bool) -> Callable[[], None] | None:
        asked.append((name, wait))
        if len(asked) == 2:  # the second of three chunks
            return None
        return lambda: opened.append(name)

    make = partial(generate, tiny_backbone, SAMPLING, items, tmp_path / "a", edit=change, lock=lock)
    assert make(wait=False) == 4
    assert opened == [asked[0][0], asked[2][0]]
    asked.clear()
    opened.clear()
    assert make() == 2
    assert [wait for _, wait in asked] == [False, False, False, True]
    assert asked[3][0] == asked[1][0]
    assert sorted(opened) == sorted({name for name, _ in asked})
    generate(tiny_backbone, SAMPLING, items, tmp_path / "b", edit=change)
    for item in items:
        assert (tmp_path / "a" / item.file).read_bytes() == (tmp_path / "b" / item.file).read_bytes()


def test_a_chunk_is_given_up_when_its_images_are_written(tiny_backbone: Backbone, tmp_path: Path) -> None:
    items = plan(["nurse", "doctor"], TEMPLATES, 3)
    events: list[tuple[str, int, int]] = []

    def lock(name: str, wait: bool) -> Callable[[], None]:
        events.append(("locked", len(events), written()))
        mine = sum(kind == "locked" for kind, *_ in events)
        return lambda: events.append(("opened", mine, written()))

    def written() -> int:
        return len(list(tmp_path.rglob("*.png")))

    generate(tiny_backbone, SAMPLING, items, tmp_path, lock=lock)
    # One is written while the next is made.
    assert [kind for kind, *_ in events] == ["locked", "locked", "opened", "locked", "opened", "opened"]
    opened = [(chunk, images) for kind, chunk, images in events if kind == "opened"]
    assert [chunk for chunk, _ in opened] == [1, 2, 3]
    assert all(images >= 2 * chunk for chunk, images in opened)


def test_images_are_those_of_their_seed_domain_and_edit(
    tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    items = [Item("a photo of a nurse", "nurse", i, "female") for i in range(2)]
    change = edit(tiny_backbone, 3.0, LowFrequency())
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    cases = {
        "plain": ({}, sample_chunk(tiny_backbone, SAMPLING, items, 0, None, "report")),
        "other": (
            {"image_seed": 5, "domain": "validation", "edit": change, "description": "others"},
            sample_chunk(tiny_backbone, SAMPLING, items, 5, change, "validation"),
        ),
    }
    with caplog.at_level(logging.INFO):
        for name, (more, expected) in cases.items():
            generate(tiny_backbone, SAMPLING, items, tmp_path / name, **more)
            found = load_images([tmp_path / name / item.file for item in items])
            assert np.array_equal(found, to_uint8(expected))
    starts = [record.message.split(":")[0] for record in caplog.records]
    assert starts == ["generate images", "others"]
    assert not torch.allclose(*(expected for _, expected in cases.values()), atol=0.1)


def test_originals_are_copied_where_they_are_not_whole(tmp_path: Path) -> None:
    items = plan(["nurse"], TEMPLATES, 3)
    save_all([tmp_path / "cache" / item.file for item in items], torch.rand(3, 3, 8, 8))
    mine = [tmp_path / "mine" / item.file for item in items]
    save_all(mine[:2], torch.zeros(2, 3, 8, 8))
    kept = mine[0].read_bytes()
    mine[1].write_bytes(b"damaged")
    take_originals(items, tmp_path / "cache", tmp_path / "mine")
    cached = [(tmp_path / "cache" / item.file).read_bytes() for item in items]
    assert [path.read_bytes() for path in mine] == [kept, *cached[1:]]
    with pytest.raises(FileNotFoundError):
        take_originals(plan(["doctor"], TEMPLATES, 1), tmp_path / "cache", tmp_path / "mine")


@pytest.mark.parametrize("frequency", [LowFrequency(), LowFrequency(0.35, "current", haar_lowpass)])
def test_edits_go_to_their_own_targets(tiny_backbone: Backbone, frequency: LowFrequency) -> None:
    mixed = [Item("a photo of a nurse", "nurse", i, target) for i, target in enumerate(("female", "male"))]
    change = edit(tiny_backbone, 3.0, frequency)
    both = sample_chunk(tiny_backbone, SAMPLING, mixed, 0, change)
    for row, item in enumerate(mixed):
        alone = sample_chunk(tiny_backbone, SAMPLING, [item], 0, change)
        torch.testing.assert_close(both[row : row + 1], alone, rtol=1e-3, atol=1e-4)
    swapped = [Item(i.prompt, i.profession, i.seed_index, "male") for i in mixed]
    assert (sample_chunk(tiny_backbone, SAMPLING, swapped, 0, change)[0] - both[0]).abs().max() > 1e-3


@pytest.mark.parametrize("source", ["current", "original"])
def test_strength_zero_without_low_frequencies_changes_nothing(tiny_backbone: Backbone, source: str) -> None:
    items = [Item("a photo of a nurse", "nurse", 0, "female")]
    plain = sample_chunk(tiny_backbone, SAMPLING, items, 0, None)
    nothing = edit(tiny_backbone, 0.0, LowFrequency(0.0, source, haar_lowpass))
    assert torch.equal(sample_chunk(tiny_backbone, SAMPLING, items, 0, nothing), plain)
    lifted = edit(tiny_backbone, 0.0, LowFrequency(0.35, source, haar_lowpass))
    assert not torch.equal(sample_chunk(tiny_backbone, SAMPLING, items, 0, lifted), plain)


@pytest.mark.parametrize("source", ["current", "original"])
def test_a_chunk_that_is_asked_for_nothing_is_left_alone(tiny_backbone: Backbone, source: str) -> None:
    items = [Item("a photo of a female nurse", "nurse", i) for i in range(2)]
    change = edit(tiny_backbone, 3.0, LowFrequency(0.35, source, haar_lowpass))
    plain = sample_chunk(tiny_backbone, SAMPLING, items, 0, None)
    assert torch.equal(sample_chunk(tiny_backbone, SAMPLING, items, 0, change), plain)


def test_low_frequencies_of_the_original_differ_from_the_current_ones(tiny_backbone: Backbone) -> None:
    items = [Item("a photo of a nurse", "nurse", i, "female") for i in range(2)]
    images = [
        sample_chunk(
            tiny_backbone, SAMPLING, items, 0, edit(tiny_backbone, 3.0, LowFrequency(0.35, source, haar_lowpass))
        )
        for source in ("current", "original")
    ]
    assert images[0].shape == images[1].shape == (2, 3, 32, 32)
    assert not torch.equal(*images)


def test_unknown_targets_are_refused(tiny_backbone: Backbone) -> None:
    with pytest.raises(UserError, match="unknown concept 'queen'"):
        sample_chunk(
            tiny_backbone, SAMPLING, [Item("a photo", "nurse", 0, "queen")], 0, edit(tiny_backbone, 1.0, LowFrequency())
        )


def test_a_folder_holds_images_of_one_making(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "edited"
    claim(folder, "one")
    (folder / "x.png").write_bytes(b"1")
    claim(folder, "one")
    assert (folder / "x.png").exists()
    assert not caplog.records
    claim(folder, "two")
    assert not (folder / "x.png").exists()
    assert "another configuration" in caplog.text
    caplog.clear()
    (folder / "made_by.txt").unlink()  # nobody knows who made what is there
    (folder / "x.png").write_bytes(b"1")
    claim(folder, "two")
    assert [path.name for path in folder.iterdir()] == ["made_by.txt"]
    assert not caplog.records
