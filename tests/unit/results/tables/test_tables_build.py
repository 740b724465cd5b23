"""Records to tables."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import scipy.stats

from hspace_exp.errors import UserError
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.results.record import RunRecord
from hspace_exp.results.runs import find_runs
from hspace_exp.results.tables.build import Table, build, merge_seeds
from hspace_exp.results.tables.columns import BLOCKS, blocks_for, column


def record(
    method: str = "lwim", seed: int = 0, config: dict[str, Any] | None = None, **values: float | None
) -> RunRecord:
    """A record whose metrics have the given values and intervals of ± 0.1."""
    down = ("deviation_ratio", "fid", "entanglement")
    metrics = {
        name: MetricValue(None, None, None, 16, True, "infinite: no background pixel changed")
        if value is None
        else MetricValue(value, value - 0.1, value + 0.1, 16, name not in down)
        for name, value in values.items()
    }
    config = {"seed": seed, "method": {"name": method}, "protocol": {"name": "demo"}, **(config or {})}
    return RunRecord(
        "gender_fairness", method, "avatars", "gender", seed, metrics, [], config,
        {"torch": "2"}, {"commit": "0123456789abcdef", "dirty": True}, "2 CPU cores", {},
    )  # fmt: skip


def save(folder: Path, *records: RunRecord) -> Path:
    """Write each record into a folder of its own."""
    for i, one in enumerate(records):
        one.write(folder / f"{one.method}_{i}")
    return folder


def cell(table: Table, row: str, metric: str) -> tuple[str, str, bool]:
    """Value, interval and mark of one number."""
    for block in table.blocks:
        for i, shown in enumerate(block.columns):
            if shown.metric == metric:
                found = block.cells[table.rows.index(row)][i]
                return found.value, found.interval, found.best
    raise KeyError(metric)


def test_methods_are_rows_with_the_best_marked(tmp_path: Path) -> None:
    save(
        tmp_path,
        record("sdid", deviation_ratio=0.2, success=0.9, fid=3.0),
        record("lwim", deviation_ratio=0.1, success=0.8, fid=2.0),
        record("original", deviation_ratio=0.7, success=0.5, fid=0.0),
    )
    (table,) = build([tmp_path])
    assert table.title == "gender_fairness: gender, avatars"
    assert table.rows == ("original", "sdid", "lwim")
    assert cell(table, "lwim", "deviation_ratio") == ("0.100", "0.000, 0.200", True)
    assert cell(table, "sdid", "success") == ("0.900", "0.800, 1.000", True)
    assert not cell(table, "original", "fid")[2]
    assert cell(table, "lwim", "fid")[2]
    assert [b.headings for b in table.blocks] == [("Deviation ratio ↓", "Success ↑"), ("FID ↓",)]


def test_infinite_and_absent_numbers(tmp_path: Path) -> None:
    save(tmp_path, record("original", background_psnr=None, success=0.5), record("lwim", background_psnr=25.0))
    (table,) = build([tmp_path])
    assert cell(table, "original", "background_psnr") == ("∞", "", False)
    assert cell(table, "lwim", "success") == ("", "", False)


def test_a_tie_is_no_victory(tmp_path: Path) -> None:
    save(tmp_path, record("sdid", success=0.90001, entanglement=0.2), record("lwim", success=0.90002, entanglement=0.2))
    (table,) = build([tmp_path])
    assert not any(c.best for block in table.blocks for row in block.cells for c in row)


def test_two_seeds_average_values_and_bounds() -> None:
    merged = merge_seeds([record(seed=0, success=0.5), record(seed=1, success=0.7)])["success"]
    assert merged.value == pytest.approx(0.6)
    assert (merged.ci_low, merged.ci_high) == (pytest.approx(0.5), pytest.approx(0.7))
    assert merged.n == 16


def test_many_seeds_widen_to_the_t_interval() -> None:
    values = [0.2, 0.5, 0.8]
    merged = merge_seeds([record(seed=i, success=v, fid=v) for i, v in enumerate(values)])
    low, high = scipy.stats.t.interval(0.95, 2, loc=0.5, scale=scipy.stats.sem(values))
    assert low < 0
    assert (merged["success"].ci_low, merged["success"].ci_high) == (0, 1)
    assert merged["fid"].ci_high == pytest.approx(high)
    narrow = merge_seeds([record(seed=i, success=0.5) for i in range(3)])["success"]
    assert (narrow.ci_low, narrow.ci_high) == (pytest.approx(0.4), pytest.approx(0.6))


def test_a_seed_without_number_leaves_none() -> None:
    merged = merge_seeds([record(seed=0, background_psnr=None), record(seed=1, background_psnr=20.0)])
    assert merged["background_psnr"].value is None


def test_seeds_share_a_row_and_other_configurations_do_not(tmp_path: Path) -> None:
    save(
        tmp_path,
        record(seed=0, success=0.5),
        record(seed=1, success=0.6),
        record(seed=0, success=0.9, config={"frequency": {"weight": 0.5}}),
    )
    (table,) = build([tmp_path])
    assert set(table.rows) == {"lwim", "lwim, λ 0.5"}
    assert cell(table, "lwim", "success")[0] == "0.550"
    assert any(line.startswith("Seeds:") and "0, 1" in line for line in table.footers)


def test_folders_devices_and_loggers_are_no_other_configuration(tmp_path: Path) -> None:
    a = record(seed=0, success=0.5, config={"paths": {"cache": "a"}, "device": "cpu", "logger": "csv"})
    b = record(seed=1, success=0.6, config={"paths": {"cache": "b"}, "device": "cuda", "logger": "wandb"})
    assert build([save(tmp_path, a, b)])[0].rows == ("lwim",)


def test_copies_count_once_and_contradictions_are_refused(tmp_path: Path) -> None:
    save(tmp_path, record(success=0.5), record(success=0.5))
    assert cell(build([tmp_path])[0], "lwim", "success")[0] == "0.500"
    save(tmp_path / "other", record(success=0.6))
    with pytest.raises(UserError, match="runs of lwim with seed 0 disagree"):
        build([tmp_path])


def test_models_and_attributes_get_tables_of_their_own(tmp_path: Path) -> None:
    save(tmp_path, record(success=0.5), dataclasses.replace(record(success=0.6), attribute="age"))
    assert [t.title for t in build([tmp_path])] == ["gender_fairness: age, avatars", "gender_fairness: gender, avatars"]


def test_footers_say_where_numbers_come_from(tmp_path: Path) -> None:
    save(tmp_path, record("original", seed=0, success=0.5), record("lwim", seed=0, success=0.6))
    text = "\n".join(build([tmp_path])[0].footers)
    for part in ("N = 16", "Seeds: 0", "Device: 2 CPU cores", "Commit: 0123456789ab with local changes", "bootstrap"):
        assert part in text
    assert "Command" not in text  # a record need not know it


def test_a_recorded_command_is_shown_as_it_was(tmp_path: Path) -> None:
    save(tmp_path, dataclasses.replace(record(success=0.5), command="python -m hspace_exp +experiment=x a=b"))
    assert "Command: `python -m hspace_exp +experiment=x a=b`" in build([tmp_path])[0].footers


def test_wanted_metrics_in_the_wanted_order(tmp_path: Path) -> None:
    save(tmp_path, record(success=0.5, fid=1.0, success_probe=0.4, my_metric=3.0))
    (table,) = build([tmp_path], ["fid", "success_probe"])
    assert [c.metric for b in table.blocks for c in b.columns] == ["fid", "success_probe"]
    (table,) = build([tmp_path], ["all"])
    assert [c.metric for b in table.blocks for c in b.columns] == ["success", "success_probe", "fid", "my_metric"]
    with pytest.raises(UserError, match=r"unknown metric 'sucess'\. Did you mean 'success'"):
        build([tmp_path], ["sucess"])


def test_blocks_stay_narrow_and_unknown_metrics_get_a_heading() -> None:
    assert max(map(len, BLOCKS.values())) <= 5
    names = {f"metric_{i}": MetricValue(1.0, None, None, 1, None) for i in range(12)}
    assert [len(columns) for columns in blocks_for(names, ["all"]).values()] == [5, 5, 2]
    assert column("background_psnr_flipped").decimals == 2
    assert column("background_psnr_flipped").heading == "Background psnr flipped"
    assert not column("judge_agreement").contest


def test_nothing_found_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no record\.json under"):
        find_runs([tmp_path])
    with pytest.raises(UserError, match="no such file or folder"):
        find_runs([tmp_path / "missing"])
    (tmp_path / "record.json").write_text('{"schema": 1')
    with pytest.raises(UserError, match=r"record\.json cannot be had"):
        find_runs([tmp_path])


def test_a_file_named_twice_counts_once(tmp_path: Path) -> None:
    path = record(success=0.5).write(tmp_path / "a")
    assert len(find_runs([path, path.parent, tmp_path])) == 1


def test_packed_records_make_the_same_tables(tmp_path: Path) -> None:
    save(tmp_path / "runs", record("sdid", success=0.5), record(success=0.25), record(seed=1, success=0.75))
    files = [path.read_text() for path in sorted((tmp_path / "runs").rglob("record.json"))]
    path = tmp_path / "kept" / "records.jsonl.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress("".join(json.dumps(json.loads(one)) + "\n" for one in files).encode()))
    tables = build([tmp_path / "runs"])
    assert cell(tables[0], "lwim", "success")[0] == "0.500"
    assert build([path]) == build([path.parent, path]) == tables
    assert [run.folder for run in find_runs([tmp_path])][2:] == [tmp_path / "runs" / "sdid_0", *[path.parent] * 3]
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(UserError, match=r"no record\.json under"):
        find_runs([path])


def test_how_much_of_everything_is_said_where_records_know(tmp_path: Path) -> None:
    amounts = {
        "professions": ["nurse", "cook"], "images_per_profession": 16, "training_images": 64, "training_steps": 600,
        "num_inference_steps": 20, "image_seed": 0,
    }  # fmt: skip
    save(tmp_path / "known", record("sdid", success=0.5, config={"protocol": amounts}))
    save(tmp_path / "unknown", record("sdid", success=0.5))
    texts = [[line for line in build([tmp_path / k])[0].footers if "Protocol" in line] for k in ("known", "unknown")]
    said = "2 professions × 16 images, a concept learns from 64 images in 600 steps, 20 denoising steps, image seed 0"
    assert texts == [[f"Protocol: {said}."], []]


def test_compositions_show_their_parts(tmp_path: Path) -> None:
    parts = {"composition_success": 0.8, "composition_if_independent": 0.81, "success_gender": 0.9, "success_age": 0.9}
    more = {
        "deviation_ratio_gender": 0.1,
        "deviation_ratio_age": 0.2,
        "deviation_ratio_probe": 0.1,
        "success_probe": 1.0,
    }
    save(
        tmp_path, record("sdid", **parts, **more), record("lwim", success=0.8, **more, **{**parts, "success_age": 0.5})
    )
    (table,) = build([tmp_path])
    shown = {block.title: [c.metric for c in block.columns] for block in table.blocks}
    assert shown["Composition"] == [
        "composition_success",
        "composition_if_independent",
        "success_age",
        "success_gender",
    ]
    assert cell(table, "sdid", "success_age")[2]
    assert not cell(table, "sdid", "composition_if_independent")[2]
    for name in ("deviation_ratio_gender", "deviation_ratio_age"):  # of which there are none where all ask for one
        del more[name]
    save(tmp_path / "one", record("sdid", **parts, **more, success_worst_gender=0.1))
    assert [c.metric for c in build([tmp_path / "one"])[0].blocks[-1].columns] == shown["Composition"]
    alone = dict.fromkeys(("success", "success_probe", "deviation_ratio_probe"), MetricValue(1.0, None, None, 1, True))
    assert "Composition" not in blocks_for(alone)


AMOUNTS = {
    "professions": ["nurse", "cook"], "images_per_profession": 4, "training_images": 8, "training_steps": 30,
    "num_inference_steps": 8, "image_seed": 0, "assignment": "balanced",
}  # fmt: skip


def test_runs_of_other_protocols_do_not_compete(tmp_path: Path) -> None:
    more = [{"images_per_profession": 16}, {"image_seed": 1}, {"training_steps": 60}]
    records = [record("sdid", success=0.5, config={"protocol": AMOUNTS})]
    records += [record("lwim", success=0.6, config={"protocol": {**AMOUNTS, **one}}) for one in more]
    tables = build([save(tmp_path, *records)])
    assert [table.rows for table in tables] == [("lwim",), ("lwim",), ("sdid", "lwim")]
    titles = [table.title for table in tables]
    start = "gender_fairness: gender, avatars, 2 professions × "
    assert titles[:2] == [f"{start}16 images", f"{start}4 images"]
    assert titles[2].startswith(f"{start}4 images, image seed 0")  # no two headings alike
    assert [any(c.best for b in t.blocks for r in b.cells for c in r) for t in tables] == [False, False, True]


def test_titles_name_the_group_of_professions(tmp_path: Path) -> None:
    prompts = {"prompts": {"groups": {"learnt": ["nurse"], "unseen": ["nurse", "cook"]}}}
    own = {name: {**AMOUNTS, "professions": some} for name, some in {"a": ["nurse"], "b": ["cook", "nurse"]}.items()}
    records = [record("sdid", success=0.5, config={**prompts, "protocol": AMOUNTS})]
    records += [record("sdid", success=0.5, config={**prompts, "protocol": one}) for one in own.values()]
    titles = {
        table.title.removeprefix("gender_fairness: gender, avatars, ") for table in build([save(tmp_path, *records)])
    }
    assert titles == {
        "2 unseen professions × 4 images",
        "1 learnt professions × 4 images",
        "2 professions × 4 images",  # a choice of one's own
    }


def test_notes_that_repeat_the_cell_are_left_out(tmp_path: Path) -> None:
    notes = {"sdid": (1.0, "worst: all twelve"), "lwim": (0.5, "worst: nurse"), "focused": (None, "infinite: same")}
    for method, (value, note) in notes.items():
        metrics = {"success_worst": MetricValue(value, None, None, 16, True, note)}
        dataclasses.replace(record(method), metrics=metrics).write(tmp_path / method)
    (table,) = build([tmp_path])
    assert [line for line in table.footers if "worst:" in line] == ["Worst success: lwim (worst: nurse)."]
    assert not any("infinite" in line for line in table.footers)


def test_a_metric_that_the_code_does_not_know_is_shown_as_its_record_says(tmp_path: Path) -> None:
    metrics = {
        "sharpness": MetricValue(12.3456, 12.0, 12.5, 16, True, heading="Sharpness (px)", digits=1),
        "silent": MetricValue(1.0, None, None, 16, True),
        "flipped": MetricValue(1.0, None, None, 16, True, heading="Flipped"),
        "success_probe": MetricValue(1.0, None, None, 16, True, heading="Success, probe"),
    }
    dataclasses.replace(record("sdid"), metrics=metrics).write(tmp_path / "a")
    (table,) = build([tmp_path])
    assert [(b.title, [c.heading for c in b.columns]) for b in table.blocks] == [
        ("Fairness", ["Flipped"]),
        ("Fairness, second judge", ["Success (probe)"]),
        ("Further metrics", ["Sharpness (px)"]),
    ]
    assert cell(table, "sdid", "sharpness") == ("12.3", "12.0, 12.5", False)


@pytest.mark.parametrize(("second", "shown"), [(30.0, False), (31.0, True)])
def test_subject_alignment_is_shown_where_it_differs(tmp_path: Path, second: float, shown: bool) -> None:
    same = record("sdid", clip_alignment=30.0, subject_alignment=30.0)
    (table,) = build([save(tmp_path, same, record("lwim", clip_alignment=30.0, subject_alignment=second))])
    assert any(c.metric == "subject_alignment" for b in table.blocks for c in b.columns) is shown


def test_commands_name_no_folder(tmp_path: Path) -> None:
    words = "python -m hspace_exp +experiment=x logger=none paths.cache=/tmp/c0"
    runs = [("original", 0), ("sdid", 0), ("lwim", 0), ("sdid", 1), ("lwim", 1)]
    records = [dataclasses.replace(record(m, s, success=0.5), command=f"{words} method={m} seed={s}") for m, s in runs]
    (table,) = build([save(tmp_path, *records)])
    assert [line for line in table.footers if line.startswith("Command")] == [
        "Command: `python -m hspace_exp +experiment=x method=original seed=0`",
        "Command: `python -m hspace_exp -m +experiment=x method=sdid,lwim seed=0,1`",
    ]
