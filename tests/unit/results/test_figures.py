"""Figures from records and from what runs left."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from hspace_exp.evaluation.value import MetricValue
from hspace_exp.generation.grid import GAP, LINE
from hspace_exp.generation.manifest import COLUMNS
from hspace_exp.io.atomic import save_png
from hspace_exp.results.figures import Chart, charts, losses, strips
from hspace_exp.results.record import RunRecord
from hspace_exp.results.runs import find_runs


def run(
    folder: Path,
    method: str,
    female: int,
    strength: float = 1.0,
    values: tuple[str, str] = ("female", "male"),
    background: float | None = None,
    auto: bool = False,
) -> None:
    """A record of two professions with four images each, of which one is there."""
    metrics = {
        "success": MetricValue(strength / 4, None, None, 8, True),
        "deviation_ratio": MetricValue(0.5, 0.4, 0.6, 8, False),
    }
    rows: list[dict[str, Any]] = [
        {"profession": "nurse", "counts": {values[0]: 4 - female, values[1]: female}, "deviation_ratio": 0.5},
        {"profession": "cook", "counts": {values[0]: female, values[1]: 4 - female}, "deviation_ratio": 0.25},
    ]
    if background is not None:
        metrics["background_psnr"] = MetricValue(background, None, None, 8, True)
    given: dict[str, Any] = {"strength": "auto", "factor": strength} if auto else {"strength": strength}
    config = {"method": {"name": method, **given}}
    RunRecord("x", method, "avatars", "gender", 0, metrics, rows, config, {}, None, "CPU", {}).write(folder)
    lines = [",".join(COLUMNS)]
    for i, name in enumerate(("nurse", "cook")):
        files = [f"images/{kind}/{i}.png" for kind in ("original", "original" if method == "original" else "edited")]
        for file, grey in zip(files, (10, 20), strict=False):
            save_png(folder / file, np.full((8, 8, 3), 10 if "original" in file else grey, np.uint8))
        lines.append(",".join(["a photo", name, "0", "" if method == "original" else values[0], "1", *files]))
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")


def panel(chart: Chart, title: str) -> Axes:
    """The panel whose title starts so."""
    (found,) = (axes for axes in chart.figure.axes if axes.get_title().startswith(title))
    return found


def bars(axes: Axes) -> list[float]:
    """Lengths of the bars."""
    return [round(patch.get_width(), 6) for patch in axes.patches]  # type: ignore[attr-defined]


def test_a_bar_a_row_of_the_table(tmp_path: Path) -> None:
    run(tmp_path / "a", "original", 0, strength=0.0)
    run(tmp_path / "b", "sdid", 2, strength=2.0)
    chart = charts(find_runs([tmp_path]))["bars"]
    assert bars(panel(chart, "Success ↑")) == [0.0, 0.5]
    assert bars(panel(chart, "Deviation ratio ↓")) == [0.5, 0.5]
    assert [text.get_text() for text in panel(chart, "Success").get_yticklabels()] == ["original", "sdid"]
    assert chart.words == "Success ↑: original 0, sdid 0.5; Deviation ratio ↓: original 0.5, sdid 0.5"
    (ends,) = panel(chart, "Deviation").collections[0].get_segments()[:1]  # type: ignore[attr-defined]
    assert ends[:, 0] == pytest.approx([0.4, 0.6])


def test_the_same_images_are_shown_under_every_row(tmp_path: Path) -> None:
    run(tmp_path / "a", "original", 0)
    run(tmp_path / "b", "sdid", 2)
    picture = strips(find_runs([tmp_path]))
    assert picture is not None
    assert picture.height == LINE + 8 + GAP + 8 + LINE


def test_a_method_at_several_strengths_without_what_it_costs_has_no_front(tmp_path: Path) -> None:
    for i, strength in enumerate((1.0, 2.0, 3.0)):
        run(tmp_path / str(i), "sdid", 2, strength)
    assert set(charts(find_runs([tmp_path]))) == {"bars"}


def test_a_front_is_what_success_costs_a_curve_a_method(tmp_path: Path) -> None:
    for i, factor in enumerate((2.0, 1.0)):
        run(tmp_path / f"s{i}", "sdid", 2, factor, background=20 - factor, auto=True)
        run(tmp_path / f"f{i}", "focused", 2, factor, background=40 - factor, auto=True)
    run(tmp_path / "p", "pca", 2, 1.0, background=10.0, auto=True)  # one point is no curve
    chart = charts(find_runs([tmp_path]))["front"]
    lines = {str(line.get_label()): line.get_xydata().tolist() for line in panel(chart, "Background PSNR").lines}  # type: ignore[union-attr]
    assert lines == {"sdid": [[0.25, 19], [0.5, 18]], "focused": [[0.25, 39], [0.5, 38]]}
    assert "sdid: 19 at success 0.25, 18 at success 0.5" in chart.words


def test_images_that_are_gone_are_left_out(tmp_path: Path) -> None:
    run(tmp_path / "a", "sdid", 2)
    (tmp_path / "a" / "manifest.csv").unlink()
    runs = find_runs([tmp_path])
    assert strips(runs) is None
    assert charts(runs) == {}


def test_losses_are_drawn_where_the_run_logged_them(tmp_path: Path) -> None:
    run(tmp_path / "a", "sdid", 2)
    (one,) = find_runs([tmp_path])
    assert losses(one) is None
    rows = ["loss/female,metrics/fid,step", "0.5,,9", "0.25,,19", ",1.5,"]
    (tmp_path / "a" / "metrics.csv").write_text("\n".join(rows) + "\n")
    chart = losses(one)
    assert chart is not None
    assert chart.figure.axes[0].lines[0].get_xydata().tolist() == [[9, 0.5], [19, 0.25]]  # type: ignore[union-attr]
    assert chart.words == "Training loss by step. female: 0.5 at first, 0.25 at last"


def test_files_are_the_same_each_time_and_text_stays_text(tmp_path: Path) -> None:
    for i, method in enumerate(("sdid", "lwim")):
        run(tmp_path / str(i), method, 2)
    files = [charts(find_runs([tmp_path]))["bars"].encoded(form) for form in ("png", "pdf", "svg") for _ in range(2)]
    assert files[0::2] == files[1::2]
    assert [files[i][:4] for i in (0, 2)] == [b"\x89PNG", b"%PDF"]
    assert "lwim" in "".join(ET.fromstring(files[4]).itertext())
