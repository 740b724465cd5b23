from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from hspace_exp.generation.grid import GAP, LABEL, LINE, pair_grid, strip
from hspace_exp.generation.manifest import Pair
from hspace_exp.io.atomic import save_png


def pairs(folder: Path, professions: int, seeds: int) -> list[Pair]:
    found = []
    for p in range(professions):
        for s in range(seeds):
            files = []
            for kind, level in (("original", 100), ("edited", 200)):
                path = folder / kind / f"{p}-{s}.png"
                save_png(path, np.full((32, 32, 3), level + p + s, np.uint8))
                files.append(path)
            found.append(Pair("a photo", f"profession {p}", s, "female", 1.0, *files))
    return found


def test_grid_shows_originals_above_edits_for_each_seed(tmp_path: Path) -> None:
    grid = pair_grid(pairs(tmp_path, 2, 3), seeds=2)
    assert grid.dtype == np.uint8
    levels = [level for level in range(90, 220) if (grid == level).all(-1).sum() >= 32 * 32]
    assert levels == [100, 101, 102, 200, 201, 202]
    first = np.argwhere((grid == 100).all(-1))[0]
    assert grid[first[0] + 32 + GAP, first[1]][0] == 200


def test_strip_shows_originals_above_edits_a_profession_a_column(tmp_path: Path) -> None:
    picture = strip({"sdid": pairs(tmp_path, 5, 1)}, columns=3)
    originals = [level for level in range(100, 105) if (picture == level).all(-1).sum() >= 32 * 32]
    assert originals == [100, 102, 104]
    top = np.argwhere((picture == 100).all(-1))[0]
    assert top.tolist() == [LINE, LABEL]
    assert picture[top[0] + 32 + GAP, top[1]][0] == 200
    assert picture.shape == (2 * (LINE + 32) + GAP, LABEL + 3 * (32 + GAP), 3)


def test_strips_of_runs_show_each_unedited_row_once(tmp_path: Path) -> None:
    first = pairs(tmp_path, 2, 1)
    other = [replace(pair, edited=pair.original) for pair in first]
    elsewhere = pairs(tmp_path / "elsewhere", 2, 1)
    picture = strip({"original": other, "sdid": first, "sampler": elsewhere})
    column = picture[:, LABEL, 0].tolist()
    assert [column.count(level) >= 32 for level in (100, 200)] == [True, True]
    assert picture.shape[0] == LINE + 32 + GAP + 2 * (32 + LINE)
    assert strip({"sdid": first}, width=40).shape[1] == LABEL + 2 * 20


def test_below_each_edited_image_stands_what_it_was_asked_for(tmp_path: Path) -> None:
    asked = pairs(tmp_path, 2, 1)
    silent = [replace(pair, target="") for pair in asked]
    longer = [replace(pair, target="a very long name of a target") for pair in asked]
    feet = [strip({"sdid": some})[-LINE:, LABEL:] for some in (asked, longer)]
    assert all((foot < 200).any() for foot in feet)
    assert (feet[1][:, 32 : 32 + GAP] == 255).all()  # cut, not written over its neighbour
    assert strip({"sdid": silent}).shape[0] == LINE + 2 * (32 + GAP)


def test_an_image_that_is_not_there_leaves_its_place_empty(tmp_path: Path) -> None:
    whole = pairs(tmp_path, 2, 2)
    grid = pair_grid([pair for pair in whole if (pair.profession, pair.seed_index) != ("profession 0", 0)])
    assert grid.shape == pair_grid(whole).shape
    assert (grid[LINE : LINE + 32, LABEL : LABEL + 32] == 255).all()
