"""Charts."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from hspace_exp.results.report.chart import Point, line_chart, ticks


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.43, 0.61), (-0.05, 0.99), (12.2, 39.8), (-3e-4, 2e-4), (100, 101)]
)
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 8
    assert low <= found[0] < found[-1] <= high
    assert all(len(f"{value:.4g}") <= 8 for value in found)


def test_lines_are_well_formed_and_inside_the_picture() -> None:
    lines = {"a<b": [Point(1, 0.5, 0.4, 0.6), Point(0, 0.2)], "c": [Point(2, 0.9)]}
    root = ET.fromstring(line_chart("Success & more", "strength", "success", lines))
    assert root.attrib["aria-label"] == "Success & more. a<b: 0.5 at 1, 0.2 at 0; c: 0.9 at 2"
    circles = root.findall("circle")
    assert len(circles) == 3
    assert all(0 < float(c.attrib["cx"]) < 420 and 0 < float(c.attrib["cy"]) < 240 for c in circles)
    first = root.findall("polyline")[0].attrib["points"].split()
    assert [point.split(",")[0] for point in first] == sorted((p.split(",")[0] for p in first), key=float)


def test_one_point_has_an_axis_too() -> None:
    assert ET.fromstring(line_chart("t", "x", "y", {"a": [Point(1, 0)]})).findall("circle")
