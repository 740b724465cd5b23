"""I2P's protocol on six harmless prompts in its layout, through the command line, and the rates of judges' labels."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.i2p.rates import REMOVED, rates, tables
from hspace_exp.errors import UserError
from hspace_exp.generation.manifest import Pair
from hspace_exp.io.rows import write_rows

ROOT = Path(__file__).parents[2]
PROMPTS = ROOT / "experiments" / "i2p" / "harmless.csv"
# The tiny text encoder takes few tokens: the words of the attribute are shorter here.
CONCEPT = ["attribute.concepts.safe.neutral=a young person", "attribute.concepts.safe.positive=a person"]
CONCEPT += ["attribute.concepts.safe.words=person"]


def test_rates_by_category_of_the_runs_own_judge_and_of_labels(
    cli: Callable[..., Any], arguments: list[str], tmp_path: Path
) -> None:
    given = [*arguments[1:], "+experiment=i2p", *CONCEPT, f"prompts.file={PROMPTS}", "protocol.images_per_profession=1"]
    for method in ("original", "sdid"):
        outcome = cli(*given, f"method={method}", f"hydra.run.dir={tmp_path / 'runs' / method}")
        assert outcome.code == 0, outcome.error
    rows = list(csv.DictReader((tmp_path / "runs" / "sdid" / "manifest.csv").read_text().splitlines()))
    asked = csv.DictReader(PROMPTS.read_text().splitlines())
    assert [row["prompt"] for row in rows] == [row["prompt"] for row in asked]
    assert {row["target"] for row in rows} == {"safe"}
    own = tables([tmp_path / "runs"], repeats=50)
    assert own.startswith("flagged by clip:")
    assert all(name in own for name in ("| original |", "| sdid |", "self-harm", "harassment", "[", "(6)"))

    files = sorted((tmp_path / "runs").rglob("*.png"))
    files = [file for file in files if "images" in file.parts]
    # all unedited images are flagged by the one, the edited ones of one prompt by the other
    prompt = next(row for row in rows if "carpenter" in row["prompt"])
    kept = (tmp_path / "runs" / "sdid" / prompt["edited"]).resolve()
    labels = [["image", "q16", "nudenet"]]
    for file in files:
        by = ["flagged" if flagged else "safe" for flagged in ("original" in file.parts, file == kept)]
        labels.append([str(file.relative_to(tmp_path)), *by])
    table = write_rows(tmp_path / "labels.csv", labels[0], labels[1:])
    text = tables([tmp_path / "runs"], table, repeats=50)
    first, second = text.split("flagged by nudenet")
    edited = next(line for line in first.splitlines() if line.startswith("| sdid"))
    plain = next(line for line in first.splitlines() if line.startswith("| original"))
    assert plain.count("1.000 [1.000, 1.000]") == 7  # all, and six categories
    assert edited.count("0.000 [0.000, 0.000]") == 7
    assert edited.endswith("1.000 [1.000, 1.000] (6) |")  # all that were flagged are not any more
    hate = next(line for line in second.splitlines() if line.startswith("| sdid")).split(" | ")
    heading = next(line for line in second.splitlines() if line.startswith("| method")).split(" | ")
    assert hate[heading.index("hate")].startswith("0.500 [")
    assert hate[heading.index("all")].startswith("0.167 [")
    assert "(2)" in hate[heading.index("hate")]

    write_rows(tmp_path / "few.csv", labels[0], labels[1:3])
    with pytest.raises(UserError, match="lacks"):
        tables([tmp_path / "runs"], tmp_path / "few.csv")
    write_rows(tmp_path / "odd.csv", ["image", "q16"], [[row[0], "maybe"] for row in labels[1:]])
    with pytest.raises(UserError, match="expected flagged or safe"):
        tables([tmp_path / "runs"], tmp_path / "odd.csv")


def test_an_image_counts_in_each_of_its_categories_and_unclear_ones_in_none() -> None:
    groups = ["hate, violence", "hate", "violence", "violence"]
    pairs = [Pair("p", group, i, "", 0.0, Path("a"), Path("b")) for i, group in enumerate(groups)]
    found = rates(pairs, [(True, True), (True, False), (False, False), (True, None)], repeats=100)
    assert found["all"].startswith("0.333 [")
    assert found["all"].endswith("(3)")
    assert found["hate"].startswith("0.500 [")
    assert found["violence"].startswith("0.500 [")  # of two: the fourth is unclear
    assert found["violence"].endswith("(2)")
    assert found[REMOVED].startswith("0.500 [")
    assert found[REMOVED].endswith("(2)")


def test_without_the_prompts_the_doctor_says_what_is_missing_and_never_bundled(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = cli("doctor", "--experiment", "i2p")
    assert outcome.code == 1
    line = next(line for line in outcome.output.splitlines() if line.startswith("prompts i2p_benchmark.csv"))
    assert "missing" in line
    assert "never bundled" in line
    assert "Q16" in line
    assert "NudeNet" in line
