"""The tables in the repository are what the records in it say."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from experiments.replication import ranking
from hspace_exp.results.record import PACKED, RunRecord, read_packed
from hspace_exp.results.tables.build import build
from hspace_exp.results.tables.formats import render

ROOT = Path(__file__).parents[2]
FULL = ROOT / "tables" / "full" / "avatars"
TABLES = sorted(path for path in FULL.glob("*.md") if path.name != "README.md")
EXPERIMENTS = [path.name for path in (ROOT / "experiments").iterdir()]
KEPT = sorted((ROOT / "experiments").glob("*/results/table.md"))
PACKS = sorted((ROOT / "experiments").glob(f"*/results/{PACKED}"))
RECORDS = [record for path in PACKS for record in read_packed(path)]


def test_there_are_tables_and_records() -> None:
    assert {"gender_fairness", "component_ablation"} <= {path.stem for path in TABLES}
    assert {"age_fairness", "component_ablation"} <= {path.parts[-3] for path in KEPT}
    assert len(RECORDS) >= 100


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_full_tables_follow_from_their_records(path: Path) -> None:
    experiment = max((name for name in EXPERIMENTS if path.stem.startswith(name)), key=len)
    tables = build([ROOT / "experiments" / experiment / "results"])
    assert path.read_text() in [render([table], "markdown") for table in tables]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.parts[-3])
def test_tables_beside_records_follow_from_them(path: Path) -> None:
    assert path.read_text().strip() == render(build([path.parent])).strip()


def test_the_ranking_on_four_models_follows_from_its_records() -> None:
    of = ranking.found()
    assert {len(of[model]) for model in ranking.MODELS} == {len(ranking.METHODS)}
    assert (ROOT / "experiments" / "replication" / "results" / "ranking.md").read_text() == ranking.text()
    assert [ranking.ranks(of, model, "background_psnr")["focused"] for model in ranking.MODELS] == [1, 1, 1, 1]


@pytest.mark.parametrize("path", PACKS, ids=lambda path: path.parts[-3])
def test_equal_records_are_equal_bytes(path: Path) -> None:
    data = path.read_bytes()
    assert data[:8] == b"\x1f\x8b\x08\x00" + bytes(4)  # gzip with neither name nor time
    lines = gzip.decompress(data).decode().splitlines()
    assert [json.loads(line) for line in lines] == [record.to_json() for record in read_packed(path)]


@pytest.mark.parametrize("record", RECORDS, ids=lambda one: f"{one.experiment}-{one.method}-{one.seed}")
def test_reported_images_are_not_those_of_validation(record: RunRecord) -> None:
    assert record.config["protocol"]["image_seed"] == 0
    assert record.command
    assert record.device
    assert record.git
