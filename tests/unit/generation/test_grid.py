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


def tiles(picture: np.ndarray, side: int = 32) -> dict[tuple[int, int], int]:
    """Where images of one level lie: (row, column) of the upper left pixel → level."""
    found = {}
    for top in range(picture.shape[0] - side + 1):
        for left in range(LABEL, picture.shape[1] - side + 1):
            tile = picture[top : top + side, left : left + side]
            if tile[0, 0, 0] < 250 and (tile == tile[0, 0]).all():
                found[top, left] = int(tile[0, 0, 0])
    return found


def test_every_image_of_a_grid_has_its_place(tmp_path: Path) -> None:
    some = [pair for pair in pairs(tmp_path, 4, 3) if (pair.profession, pair.seed_index) != ("profession 3", 1)]
    grid = pair_grid(some, professions=3, seeds=2)
    columns = [LABEL + c * (32 + GAP) for c in range(3)]
    below, line = 32 + GAP, 32 + LINE
    rows = [LINE, LINE + below, LINE + below + line, LINE + 2 * below + line]
    expected = {
        (rows[2 * seed + kind], columns[c]): 100 + 100 * kind + p + seed
        for seed in (0, 1)
        for kind in (0, 1)
        for c, p in enumerate((0, 2, 3))
        if (p, seed) != (3, 1)
    }
    assert tiles(grid) == expected
    assert grid.shape == (rows[3] + line, LABEL + 3 * (32 + GAP), 3)
    assert (grid[:LINE, LABEL:] < 128).any()  # names of professions
    for top, words in zip(rows, (False, True) * 2, strict=True):
        beside = grid[top : top + 32, :LABEL]
        assert (beside[11 : 32 - 8] < 128).any()  # what the row shows, at half its height
        assert (beside[:11] == 255).all()
        foot = grid[top + 33 : top + 32 + (LINE if words else GAP)]
        assert (foot < 200).any() == words


def test_one_profession_is_the_first_and_images_shrink_to_the_width(tmp_path: Path) -> None:
    some = pairs(tmp_path, 3, 1)
    assert set(tiles(strip({"a": some}, columns=1)).values()) == {100, 200}
    assert len(tiles(strip({"a": some}, columns=2))) == 4
    narrow = strip({"a": some}, width=60)
    assert tiles(narrow, 16) == {
        (top, LABEL + c * 20): level + c for c in range(3) for top, level in ((LINE, 100), (LINE + 16 + GAP, 200))
    }
    assert strip({"a": some}, width=10_000).shape == strip({"a": some}).shape


def test_a_run_without_any_of_the_professions_is_left_out(tmp_path: Path) -> None:
    first, other = pairs(tmp_path, 2, 1), [replace(pair, profession="x") for pair in pairs(tmp_path / "b", 1, 1)]
    assert np.array_equal(strip({"a": first, "b": other}), strip({"a": first}))
