"""Figures from records and from what runs left."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hspace_exp.evaluation.value import MetricValue
from hspace_exp.generation.grid import GAP, LINE
from hspace_exp.generation.manifest import COLUMNS
from hspace_exp.io.atomic import save_png
from hspace_exp.results.record import RunRecord
from hspace_exp.results.report.bars import Bar, bar_chart
from hspace_exp.results.report.collect import collect
from hspace_exp.results.report.drawing import drawing
from hspace_exp.results.report.figures import drawings, pictures
from hspace_exp.results.report.heat import heat_map

SVG = "{http://www.w3.org/2000/svg}"


def rectangles(svg: str) -> list[ET.Element]:
    return ET.fromstring(svg).findall("rect")


def test_bars_are_as_long_as_their_values() -> None:
    svg = bar_chart("Success & more", {"a<b": [Bar(1.0, 0.8, 1.0)], "c": [Bar(0.5)], "d": [Bar(None)]})
    long, short = (float(r.attrib["width"]) for r in rectangles(svg))
    assert long == pytest.approx(2 * short, abs=0.2)
    root = ET.fromstring(svg)
    assert root.attrib["aria-label"] == "Success & more. a<b: 1; c: 0.5; d: none"
    assert len([p for p in root.findall("path") if p.attrib["class"] == "reach"]) == 1


def test_negative_bars_go_left_of_zero() -> None:
    low, high = rectangles(bar_chart("Change", {"a": [Bar(-1.0)], "b": [Bar(1.0)]}))
    assert float(low.attrib["x"]) + float(low.attrib["width"]) == pytest.approx(float(high.attrib["x"]))


def test_all_zeros_are_a_chart_too() -> None:
    assert len(rectangles(bar_chart("None", {"a": [Bar(0.0)]}))) == 1


def test_keys_name_the_colours_of_a_rows_bars() -> None:
    found = rectangles(bar_chart("Share", {"nurse": [Bar(0.9), Bar(0.5)]}, ["before", "after"]))
    keys, bars = found[:2], found[2:]
    assert [k.attrib["fill"] for k in keys] == [b.attrib["fill"] for b in bars]
    assert keys[0].attrib["fill"] != keys[1].attrib["fill"]


def test_heat_is_full_at_one_white_at_zero_and_told_in_words() -> None:
    svg = heat_map("Cosines", {"a": {"a": 1.0, "b": 0.0}, "b": {"a": 0.0, "b": -1.0}})
    assert [r.attrib["fill"] for r in rectangles(svg)] == ["#0072b2", "#ffffff", "#ffffff", "#d55e00"]
    assert ET.fromstring(svg).attrib["aria-label"] == "Cosines. a and b: 0.00"


def test_a_drawing_holds_its_charts_side_by_side_without_overlap() -> None:
    charts = [bar_chart(str(n), {str(i): [Bar(1.0)] for i in range(n)}) for n in (1, 4, 2)]
    root = ET.fromstring(drawing(charts))
    boxes = [[float(c.attrib[k]) for k in ("x", "y", "width", "height")] for c in root.findall(f"{SVG}svg")]
    assert len(boxes) == 3
    (x0, y0, w0, _), (x1, y1, _, h1), (x2, y2, _, h2) = boxes
    assert (y1, x2) == (y0, x0)
    assert x1 >= x0 + w0
    assert y2 >= y1 + h1
    assert float(root.attrib["height"]) >= y2 + h2
    with pytest.raises(ValueError, match="viewBox"):
        drawing(["<svg>"])


def run(
    folder: Path, method: str, female: int, strength: float = 1.0, values: tuple[str, str] = ("female", "male")
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
    config = {"method": {"name": method, "strength": strength}}
    RunRecord("x", method, "avatars", "gender", 0, metrics, rows, config, {}, None, "CPU", {}).write(folder)
    lines = [",".join(COLUMNS)]
    for i, name in enumerate(("nurse", "cook")):
        files = [f"images/{kind}/{i}.png" for kind in ("original", "original" if method == "original" else "edited")]
        for file, grey in zip(files, (10, 20), strict=False):
            save_png(folder / file, np.full((8, 8, 3), 10 if "original" in file else grey, np.uint8))
        lines.append(",".join(["a photo", name, "0", "" if method == "original" else values[0], "1", *files]))
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")


def test_professions_before_and_after(tmp_path: Path) -> None:
    run(tmp_path / "a", "original", 0)
    run(tmp_path / "b", "sdid", 2)
    runs, found = collect([tmp_path])
    figures = drawings(runs, found)
    assert set(figures) == {"bars", "professions"}
    (chart,) = ET.fromstring(figures["professions"]).findall(f"{SVG}svg")
    words = chart.attrib["aria-label"]
    assert "share of female" in words
    assert re.search(r"cook: 0, 0.5; nurse: 1, 0.5$", words)  # by what was before
    assert pictures(runs, found)["strips"].shape[0] == LINE + 8 + GAP + 8 + LINE


def test_strengths_are_curves_and_no_professions_without_before(tmp_path: Path) -> None:
    for i, strength in enumerate((1.0, 2.0, 3.0)):
        run(tmp_path / str(i), "sdid", 2, strength)
    figures = drawings(*collect([tmp_path]))
    assert set(figures) == {"bars", "strength"}
    charts = ET.fromstring(figures["strength"]).findall(f"{SVG}svg")
    assert charts[0].attrib["aria-label"] == "Colours: sdid"
    assert charts[1].attrib["aria-label"].endswith("sdid: 0.25 at 1, 0.5 at 2, 0.75 at 3")
    assert float(charts[1].attrib["y"]) > float(charts[0].attrib["y"]) + float(charts[0].attrib["height"])


def test_images_that_are_gone_are_left_out(tmp_path: Path) -> None:
    run(tmp_path / "a", "sdid", 2)
    (tmp_path / "a" / "manifest.csv").unlink()
    runs, found = collect([tmp_path])
    assert pictures(runs, found) == {}
    assert drawings(runs, found) == {}
