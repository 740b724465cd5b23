from __future__ import annotations

from pathlib import Path

import numpy as np

from hspace_exp.generation.manifest import Pair
from hspace_exp.io.atomic import save_png
from hspace_exp.results.grid import pair_grid, strip


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


def test_grid_shows_originals_beside_edits_a_seed_a_row(tmp_path: Path) -> None:
    grid = pair_grid(pairs(tmp_path, 2, 3), seeds=2)
    assert grid.dtype == np.uint8
    levels = [level for level in range(90, 220) if (grid == level).all(-1).sum() >= 32 * 32]
    assert levels == [100, 101, 102, 200, 201, 202]
    first = np.argwhere((grid == 100).all(-1))[0]
    assert grid[first[0], first[1] + 36][0] == 200


def test_strip_shows_originals_above_edits_a_profession_a_column(tmp_path: Path) -> None:
    picture = strip(pairs(tmp_path, 5, 1), columns=3)
    originals = [level for level in range(100, 105) if (picture == level).all(-1).sum() >= 32 * 32]
    assert originals == [100, 102, 104]
    top = np.argwhere((picture == 100).all(-1))[0]
    assert picture[top[0] + 36, top[1]][0] == 200
