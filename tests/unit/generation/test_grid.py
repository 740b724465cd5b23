from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from hspace_exp.generation.grid import GAP, LABEL, LINE, pair_grid, strip
from hspace_exp.generation.manifest import Pair
from hspace_exp.io.atomic import save_png


def pairs(folder: Path, professions: int, seeds: int, side: int = 32) -> list[Pair]:
    found = []
    for p in range(professions):
        for s in range(seeds):
            files = []
            for kind, level in (("original", 100), ("edited", 200)):
                path = folder / kind / f"{p}-{s}.png"
                save_png(path, np.full((side, side, 3), level + p + s, np.uint8))
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


def written(text: str, width: int, colour: str = "black") -> np.ndarray:
    """A line of text in the upper left corner of a white field."""
    field = Image.new("RGB", (width, LINE - 2), "white")
    ImageDraw.Draw(field).text((0, 0), text, fill=colour)
    return np.asarray(field)


def part(picture: np.ndarray, top: int, left: int, width: int) -> np.ndarray:
    return picture[top : top + LINE - 2, left : left + width]


def test_texts_say_what_columns_and_rows_show(tmp_path: Path) -> None:
    side = 64
    first, second = pairs(tmp_path, 2, 1, side)
    mine = [replace(first, profession="a"), replace(second, profession="b", target="")]
    unchanged = [replace(pair, original=pair.edited) for pair in mine]
    picture = strip({"mine": mine, "unchanged": unchanged})
    lefts = [LABEL, LABEL + side + GAP]
    rows = [LINE, LINE + side + GAP, LINE + side + GAP + side + LINE]
    for left, name in zip(lefts, "ab", strict=True):
        assert np.array_equal(part(picture, 2, left, side), written(name, side))
    for top, label in zip(rows, ("unedited", "mine", "unchanged"), strict=True):
        middle = top + side // 2 - 5
        assert np.array_equal(part(picture, middle, 2, LABEL - GAP), written(label, LABEL - GAP))
    foot = rows[1] + side + 1
    assert np.array_equal(part(picture, foot, 2, LABEL - GAP), written("asked for", LABEL - GAP, "grey"))
    assert np.array_equal(part(picture, foot, lefts[0], side), written("female", side, "grey"))
    assert (part(picture, foot, lefts[1], side) == 255).all()
    assert picture.shape[0] == rows[2] + side + GAP


def test_what_is_too_long_is_cut_where_it_just_fits(tmp_path: Path) -> None:
    name, side, measure = "librarian and archivist", 64, ImageDraw.Draw(Image.new("RGB", (1, 1)))
    long = [replace(pair, profession=name) for pair in pairs(tmp_path, 1, 1, side)]
    fits = [f"{name[:end]}…" for end in range(len(name)) if measure.textlength(f"{name[:end]}…") <= side]
    assert len(fits) > 3
    assert np.array_equal(part(strip({"mine": long}), 2, LABEL, side), written(fits[-1], side))
    label = strip({name * 3: long})[LINE : LINE + side + GAP + side, :LABEL]
    assert (label[:, LABEL - GAP + 2 :] == 255).all()
    assert (label[:, LABEL // 2 : LABEL - GAP] < 128).any()
    tiny = strip({"mine": pairs(tmp_path / "tiny", 1, 1, side=2)})
    assert (tiny[:LINE, LABEL:] == 255).all()  # no room for a single letter


def test_no_more_is_shown_than_there_is_room_for(tmp_path: Path) -> None:
    many = pairs(tmp_path, 14, 5, side=2)
    assert pair_grid(many).shape == (LINE + 4 * (2 + GAP + 2 + LINE), LABEL + 6 * (2 + GAP), 3)
    assert strip({"mine": many}).shape[1] == LABEL + 12 * (2 + GAP)


def test_images_of_another_shape_keep_it_when_they_shrink(tmp_path: Path) -> None:
    slope = np.repeat(np.arange(0, 240, 5, dtype=np.uint8)[:, None, None], 3, axis=2).repeat(24, axis=1)  # 48 x 24
    files = [tmp_path / f"{kind}.png" for kind in ("original", "edited")]
    save_png(files[0], slope)
    save_png(files[1], slope[::-1].copy())
    picture = strip({"mine": [Pair("a photo", "nurse", 0, "", 1.0, *files)]}, width=12 + GAP)
    assert picture.shape == (LINE + 2 * (24 + GAP), LABEL + 12 + GAP, 3)
    found = picture[LINE : LINE + 24, LABEL : LABEL + 12, 0].astype(float)
    means = slope[:, 0, 0].reshape(24, 2).mean(1)
    assert np.abs(found[2:-2] - means[2:-2, None]).max() <= 1
