"""Files of tables and figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from hspace_exp.evaluation.value import MetricValue
from hspace_exp.generation.manifest import COLUMNS
from hspace_exp.io.atomic import save_png
from hspace_exp.results.record import RunRecord
from hspace_exp.results.runs import find_runs
from hspace_reproduce.tables import write_tables


def leave(folder: Path, experiment: str, method: str, attribute: str = "gender") -> Path:
    """A run's folder with a record and one pair."""
    metrics = {"success": MetricValue(0.5, 0.4, 0.6, 8, True)}
    run = folder / experiment / "avatars" / attribute / method / "seed=0"
    config = {"method": {"name": method}}
    RunRecord(experiment, method, "avatars", attribute, 0, metrics, [], config, {}, None, "CPU", {}).write(run)
    save_png(run / "images" / "0.png", np.zeros((8, 8, 3), np.uint8))
    (run / "manifest.csv").write_text(f"{','.join(COLUMNS)}\na photo,nurse,0,,1,images/0.png,images/0.png\n")
    return run


def test_every_experiment_has_its_files_and_an_index_shows_them(tmp_path: Path) -> None:
    runs = [leave(tmp_path / "outputs", *names) for names in (("age", "sdid"), ("age", "lwim"), ("gender", "sdid"))]
    out = tmp_path / "tables"
    written = write_tables(find_runs(runs), out)
    assert {path.relative_to(out).as_posix() for path in written} == {
        "README.md",
        *(f"{name}.{ending}" for name in ("age", "gender") for ending in ("md", "tex")),
        "figures/age_bars.pdf",
        "figures/age_bars.png",
        "figures/age_strips.png",
        "figures/gender_strips.png",
    }
    index = (out / "README.md").read_text()
    assert "[tex](age.tex)" in index
    assert "![age bars](figures/age_bars.png)" in index
    with Image.open(out / "figures" / "age_strips.png") as picture:
        assert picture.mode == "P"


def test_attributes_of_one_experiment_have_files_of_their_own(tmp_path: Path) -> None:
    runs = [leave(tmp_path / "outputs", "x", "sdid", attribute) for attribute in ("age", "gender")]
    names = {path.name for path in write_tables(find_runs(runs), tmp_path / "tables") if path.suffix == ".md"}
    assert names == {"x_age.md", "x_gender.md", "README.md"}
