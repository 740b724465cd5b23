"""The HTML page about runs."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hspace_exp.commands import start
from hspace_exp.errors import UserError
from hspace_exp.evaluation.judged_csv import write_judged
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.generation.manifest import Pair, write_pairs
from hspace_exp.io.atomic import save_png
from hspace_exp.results.record import RunRecord
from hspace_exp.results.runs import chosen, find_runs
from hspace_studio.report import page

VOID = {"meta", "img", "input", "br", "circle", "path", "polyline"}


class Outline(HTMLParser):
    """Checks nesting, and collects attributes that fetch something and texts."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember."""
        self.tags.append((tag, dict(attrs)))
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Must close what was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Remember."""
        self.text += data


def make_run(folder: Path, method: str = "lwim", strength: float = 1.0, seed: int = 0, success: float = 0.9) -> Path:
    """A run's folder with eight pairs."""
    rng, pairs, rows = np.random.default_rng(0), [], []
    for i in range(8):
        profession, target = ("nurse", "<b>cook</b>")[i % 2], ("female", "male")[i // 2 % 2]
        files = [folder / "images" / kind / f"{i}.png" for kind in ("original", "edited")]
        for file in files:
            save_png(file, rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        if method == "original":
            files[1], target = files[0], ""
        pairs.append(Pair(f"a photo of a {profession}", profession, i, target, strength, files[0], files[1]))
        row: dict[str, Any] = {n: getattr(pairs[-1], n) for n in ("profession", "prompt", "seed_index", "target")}
        rows.append(row | {"clip.gender.before": "female", "clip.gender.after": target or "female"})
    metrics = {
        "success": MetricValue(success, success - 0.1, success + 0.05, 8, True),
        "deviation_ratio": MetricValue(0.25, 0.1, 0.4, 8, False, "by chance 0.2", 0.05, 0.5),
        "background_psnr": MetricValue(None, None, None, 8, True, "infinite: no background pixel changed"),
    }
    shown = {"n": 4, "counts": {"female": 3, "male": 1}, "success": 0.5}
    confusion = {"judge": "clip", "attribute": "gender", "values": ["female", "male"], "counts": [[3, 0, 1], [0, 4, 0]]}
    RunRecord(
        experiment="gender_fairness",
        method=method,
        model="avatars",
        attribute="gender",
        seed=seed,
        metrics=metrics,
        per_profession=[{"profession": p, **shown} for p in ("<b>cook</b>", "nurse")],
        config={"method": {"name": method, "strength": strength}, "note": "</script>"},
        versions={"torch": "2.15"},
        git=None,
        device="CPU",
        seconds={"generation": 1.5},
        command="python -m hspace_exp",
        details={
            "confusion": confusion,
            "entanglement_matrix": {"female": {"age": 0.25}, "male": {"age": 0.125}},
        },
    ).write(folder)
    write_pairs(folder, pairs)
    write_judged(folder, rows)
    return folder


def outline_of(text: str) -> Outline:
    found = Outline()
    found.feed(text)
    found.close()
    assert found.open == []
    return found


def test_a_page_is_whole_fetches_nothing_and_says_what_there_is(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    save_png(folder / "masks.png", np.zeros((32, 64, 3), np.uint8))
    text = page(find_runs([folder]), "A <title>")
    outline = outline_of(text)
    assert all(address.startswith(("data:image/", "#")) for address in outline.fetched)
    images = [attributes for tag, attributes in outline.tags if tag == "img"]
    assert len(images) == 2 * 8 + 1
    assert all(attributes["alt"] for attributes in images)
    sliders = [attributes for tag, attributes in outline.tags if tag == "input"]
    assert len(sliders) == 8
    assert all("before to after" in (attributes["aria-label"] or "") for attributes in sliders)
    for words in (
        "A <title>",
        "<b>cook</b>",
        "0.900",
        "by chance 0.2",
        "0.125",
        "2.15",
        "python -m hspace_exp",
        "Attribute maps",
    ):
        assert words in outline.text
    assert {"lang": "en"} in [attributes for tag, attributes in outline.tags if tag == "html"]
    heads = [attributes for tag, attributes in outline.tags if tag == "th"]
    assert all(attributes["scope"] in ("row", "col") for attributes in heads)
    assert "judged female before, male after" in outline.text


def test_every_picture_of_maps_is_shown_with_its_group(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    for name, height in {"masks.png": 30, "masks_age.png": 40, "masks_skin_tone.png": 50, "strip.png": 60}.items():
        save_png(folder / name, np.zeros((height, 64, 3), np.uint8))
    outline = outline_of(page(find_runs([folder]), "Maps"))
    wide = [attributes for tag, attributes in outline.tags if tag == "img" and attributes.get("class") == "wide"]
    what = "Attribute maps of training images"
    assert [(image["alt"], image["height"]) for image in wide] == [
        (what, "30"),
        (f"{what}: age", "40"),
        (f"{what}: skin_tone", "50"),
    ]


def test_pictures_of_maps_and_pairs_share_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path / "run")
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    for name in ("masks_age.png", "masks_gender.png"):
        save_png(folder / name, noise)
    monkeypatch.setattr("hspace_studio.report.BUDGET", 120_000)
    text = page(find_runs([folder]), "Small")
    assert "masks_gender.png does not fit into this page" in text
    assert text.count('class="wide"') == 1
    assert text.count('class="before"') == 8


def test_several_runs_have_their_table_and_curves(tmp_path: Path) -> None:
    for i, strength in enumerate((0.5, 1.0, 1.5)):
        make_run(tmp_path / f"s{i}", strength=strength, success=0.5 + 0.2 * i)
    make_run(tmp_path / "original", "original")
    runs = find_runs([tmp_path])
    text = page(runs, "Sweep")
    outline = outline_of(text)
    charts = [attributes for tag, attributes in outline.tags if attributes.get("class") == "chart"]
    assert "Success ↑: original" in (charts[0]["alt"] or "")
    assert (charts[0]["src"] or "").startswith("data:image/svg+xml;base64,")
    assert "judged female;" not in outline.text
    addresses = [attributes["href"] for tag, attributes in outline.tags if tag == "a"]
    assert addresses == ["#group1", *(f"#run1-{i}" for i in range(1, 5))]
    targets = {f"#{attributes['id']}" for _, attributes in outline.tags if "id" in attributes}
    assert set(addresses) <= targets
    folded = [attributes for tag, attributes in outline.tags if tag == "details" and attributes.get("class") == "run"]
    assert len(folded) == 4  # so that a sweep is no scroll of many metres


def test_loss_curves_are_shown(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    (folder / "metrics.csv").write_text("loss/female,step\n0.5,9\n0.25,19\n")
    outline = outline_of(page(find_runs([folder]), "Losses"))
    charts = [attributes["alt"] for _, attributes in outline.tags if attributes.get("class") == "chart"]
    assert charts == ["Training loss by step. female: 0.5 at first, 0.25 at last"]


def test_pictures_stay_within_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path / "run")
    monkeypatch.setattr("hspace_studio.report.BUDGET", 8000)
    text = page(find_runs([folder]), "Small")
    assert 0 < text.count("<figure") < 8
    shutil.rmtree(folder / "images")
    assert "No image of this run is at hand" in page(find_runs([folder]), "None")


def test_all_professions_are_shown_before_one_is_shown_twice() -> None:
    pairs = [Pair("p", f"{i // 4}", i % 4, "ab"[i % 2], 1.0, Path("a"), Path("b")) for i in range(12)]
    assert [pair.profession for pair in chosen(pairs, 4)] == ["0", "1", "2", "0"]
    assert {pair.target for pair in chosen(pairs, 3)} == {"a", "b"}
    assert len(set(chosen(pairs, 99))) == 12


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(tmp_path / "run")
    assert start(["report", str(folder)]) == 0
    assert "report.html (0." in capsys.readouterr().out
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert start(["report", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith("error: no such file or folder")
    rows = (folder / "judged.csv").read_text().splitlines()
    (folder / "judged.csv").write_text("\n".join(rows[:3]))
    assert start(["report", str(folder)]) == 2
    assert "lists 2 of 8 images" in capsys.readouterr().err


def test_unknown_files_are_refused(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    (folder / "images" / "edited" / "0.png").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"0\.png cannot be had"):
        page(find_runs([folder]), "Broken")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs a browser")
def test_a_browser_lays_pairs_over_each_other(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    assert start(["report", str(folder)]) == 0
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        f"file://{folder / 'report.html'}",
    ]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert shown.count('class="pair movable live" style="--cut: 50%;"') == 8


def test_runs_are_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    (run,) = find_runs([make_run(tmp_path / "run", strength=1.5, seed=2)])
    assert run.label == "lwim, strength 1.5, seed 2"
    plain = dataclasses.replace(run.record, method="original")
    assert dataclasses.replace(run, record=plain).label == "original, seed 2"
