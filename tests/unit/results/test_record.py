"""Records: whole, checked, comparable."""

from __future__ import annotations

import copy
import dataclasses
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hspace_exp
from hspace_exp.errors import UserError
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.results.record import (
    RunRecord,
    config_digest,
    differences,
    git_state,
    json_schema,
    read_packed,
    read_record,
    shareable,
)

CONFIG: dict[str, Any] = {
    "seed": 0,
    "model": {"name": "avatars", "source": "/somewhere/weights", "device": "cpu"},
    "method": {"name": "lwim", "strength": 1.0, "batch_size": 8},
    "evaluator": {"batch_size": 8},
    "protocol": {"num_inference_steps": 20},
    "trainer": {"max_steps": 100, "accelerator": "auto", "devices": 1},
    "logger": {"_target_": "csv"},
    "paths": {"cache": "cache"},
}


def make(**changes: Any) -> RunRecord:
    """A small record."""
    values: dict[str, Any] = {
        "experiment": "gender_fairness",
        "method": "lwim",
        "model": "avatars",
        "attribute": "gender",
        "seed": 0,
        "metrics": {
            "deviation_ratio": MetricValue(0.125, 0.1, 0.15, 192, False),
            "background_psnr": MetricValue(None, None, None, 192, True, "infinite: no pixel changed"),
        },
        "per_profession": [{"profession": "nurse", "n": 16, "counts": {"female": 9, "male": 7}}],
        "config": CONFIG,
        "versions": {"torch": "2.15"},
        "git": {"commit": "abc", "dirty": False},
        "device": "CPU",
        "seconds": {"generation": 12.5},
    }
    return RunRecord(**{**values, **changes})


def with_value(name: str, value: Any) -> dict[str, Any]:
    """CONFIG with the dotted ``name`` set."""
    config = copy.deepcopy(CONFIG)
    *path, last = name.split(".")
    node = config
    for part in path:
        node = node[part]
    node[last] = value
    return config


def test_a_given_strength_counts_with_its_factor() -> None:
    assert make().strength == 1.0
    assert make(config=with_value("method", {"strength": {"female": 3.0, "male": 3.0}, "factor": 0.5})).strength == 1.5
    found = make(config=with_value("method", {"strength": "auto", "factor": 0.5}))
    assert (found.strength, found.factor) == (None, 0.5)


def test_round_trip(tmp_path: Path) -> None:
    record = make()
    path = record.write(tmp_path)
    assert read_record(path) == record == read_record(tmp_path)
    data = json.loads(path.read_text())
    assert data["schema"] == 1
    assert data["config_digest"] == config_digest(CONFIG)
    assert data["metrics"]["deviation_ratio"] == {
        "value": 0.125, "ci_low": 0.1, "ci_high": 0.15, "n": 192, "higher_is_better": False,
    }  # fmt: skip
    assert data["metrics"]["background_psnr"]["note"].startswith("infinite")


def test_intervals_over_professions_and_details_are_written_where_there_are_any(tmp_path: Path) -> None:
    wide = MetricValue(0.125, 0.1, 0.15, 192, False, ci_low_professions=0.05, ci_high_professions=0.2)
    record = make(metrics={"deviation_ratio": wide}, details={"confusion": {"counts": [[3, 0], [1, 2]]}})
    data = json.loads(record.write(tmp_path).read_text())
    assert data["metrics"]["deviation_ratio"]["ci_high_professions"] == 0.2
    assert read_record(tmp_path) == record
    del data["details"]  # as older records are
    (tmp_path / "record.json").write_text(json.dumps(data))
    assert read_record(tmp_path).details == {}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_are_finite(number: float, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metrics\.fid\.value"):
        make(metrics={"fid": MetricValue(number, 0, 0, 1, False)}).write(tmp_path)
    with pytest.raises(UserError, match=r"per_profession\[0\]\.x"):
        make(per_profession=[{"x": number}]).to_json()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model.device", "cuda"), ("evaluator.batch_size", 64), ("trainer.devices", 4), ("logger", None),
        ("paths.cache", "/b"), ("model.source", "/another/checkout/weights"), ("trainer.accelerator", "gpu"),
    ],
)  # fmt: skip
def test_digest_leaves_out_paths_logger_devices_and_batch_sizes(name: str, value: Any) -> None:
    assert config_digest(with_value(name, value)) == config_digest(CONFIG)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 1), ("method.strength", 2.0), ("method.batch_size", 4), ("protocol.num_inference_steps", 30),
        ("trainer.max_steps", 101), ("model.source", "/somewhere/other_weights"), ("model.name", "sd15"),
    ],
)  # fmt: skip
def test_digest_holds_what_decides_the_numbers(name: str, value: Any) -> None:
    assert config_digest(with_value(name, value)) != config_digest(CONFIG)


def test_differences_ignore_time_device_git_and_folders() -> None:
    elsewhere = with_value("paths.cache", "/b")
    other = make(seconds={"generation": 1.0, "x": 2}, device="GPU", git=None, config=elsewhere, command="x")
    assert not differences(make(), other)


def test_differences_name_the_place() -> None:
    changed = make(per_profession=[{"profession": "nurse", "n": 16, "counts": {"female": 8, "male": 8}}])
    assert differences(make(), changed) == [
        "per_profession[0].counts.female: 9 != 8",
        "per_profession[0].counts.male: 7 != 8",
    ]
    assert differences(make(), make(config=with_value("seed", 1)))[0].startswith("config_digest")
    assert differences(make(), make(metrics={}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ('{"schema": 1, "experi', "Unterminated string"),
        ('{"schema": 1, "seed": NaN}', "Out of range float"),
        ("[1, 2]", "cannot be had"),
        ('{"hello": 1}', "experiment: Field required; method: Field required"),
        ('{"schema": 1, "seed": 0}', "experiment: Field required; method: Field required"),
    ],
)
def test_truncated_and_foreign_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_record(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("seed", "0"), ("metrics", []), ("metrics", {"fid": {"x": 1}}), ("git", 3), ("schema", 99)]
)
def test_wrong_kinds_are_refused(tmp_path: Path, name: str, value: Any) -> None:
    (tmp_path / "record.json").write_text(json.dumps({**make().to_json(), name: value}))
    with pytest.raises(UserError, match=rf"record\.json .*{name}.*: run the command that makes it"):
        read_record(tmp_path)


def test_missing_file_and_unreadable_bytes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"record\.json cannot be had .*No such file"):
        read_record(tmp_path)
    (tmp_path / "record.json").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(UserError, match="can't decode"):
        read_record(tmp_path)


def packed(folder: Path, *texts: str) -> Path:
    """A file of records, one a line."""
    path = folder / "records.jsonl.gz"
    path.write_bytes(gzip.compress("".join(f"{text}\n" for text in texts).encode(), mtime=0))
    return path


def test_packed_records_are_those_that_were_written(tmp_path: Path) -> None:
    records = [make(), make(seed=1, device="CPU …")]
    assert read_packed(packed(tmp_path, *(json.dumps(one.to_json()) for one in records))) == records


def test_damaged_packs_are_refused_in_one_line(tmp_path: Path) -> None:
    line = json.dumps(make().to_json())
    path = packed(tmp_path, line, line[:-9], line)
    with pytest.raises(UserError, match=rf"^line 2 of the records {path} cannot be had .*get the file again$"):
        read_packed(path)
    with pytest.raises(UserError, match=r"^line 1 of the records .*Out of range float"):
        read_packed(packed(tmp_path, line.replace("12.5", "NaN")))
    whole = packed(tmp_path, line).read_bytes()
    body = bytes(256 - byte if 20 <= i < 40 and byte else byte for i, byte in enumerate(whole))
    for data, message in ((whole[:-20], "ended before"), (line.encode(), "Not a gzipped"), (body, "")):
        path.write_bytes(data)
        with pytest.raises(UserError, match=rf"^the records .* cannot be had \(.*{message}.*again$"):
            read_packed(path)
    path.unlink()
    with pytest.raises(UserError, match="No such file"):
        read_packed(path)


def test_packs_are_unpacked_within_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = json.dumps(make().to_json())
    path = packed(tmp_path, line)
    monkeypatch.setattr("hspace_exp.results.record._MOST", len(line) + 1)
    assert read_packed(path) == [make()]
    with gzip.open(path, "wb") as file:
        file.write(f"{line}\n\n".encode())
    with pytest.raises(UserError, match="more than 0 MiB unpacked"):
        read_packed(path)


def test_records_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().seed = 1  # type: ignore[misc]


def test_import_needs_no_torch() -> None:
    code = "import sys, hspace_exp.results.record; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_published_schema_is_that_of_the_code() -> None:
    path = Path(__file__).parents[3] / "docs" / "record.schema.json"
    published = json.loads(path.read_text())
    assert published == json_schema(), "write it again: python -m hspace_exp.results.record > docs/record.schema.json"
    assert {"experiment", "metrics", "per_profession", "config"} <= set(published["required"])


def test_shareable_hides_where_the_package_is_and_keeps_the_digest() -> None:
    package = Path(hspace_exp.__file__).resolve().parent
    config = {
        "model": {"source": str(package / "avatars" / "weights"), "name": "avatars"},
        "elsewhere": ["/data/models/sd15", 3, None],
    }
    shown = shareable(config)
    assert shown["model"] == {"source": "/hspace_exp/avatars/weights", "name": "avatars"}
    assert shown["elsewhere"] == config["elsewhere"]
    assert config_digest(shown) == config_digest(config)
    assert str(package.parent) not in str(shown["model"])


def test_files_that_git_does_not_know_are_dirty_where_they_decide_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    def dirty() -> object:
        state = git_state(tmp_path)
        assert state is not None
        return state["dirty"]

    monkeypatch.delenv("HSPACE_EXP_COMMIT", raising=False)
    assert git_state(tmp_path) is None
    for name in ("conf", "hspace_exp", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / ".gitignore").write_text("*.pyc\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "a")
    (tmp_path / "notes" / "x.md").touch()
    (tmp_path / "hspace_exp" / "x.pyc").touch()
    assert dirty() is False
    (tmp_path / "conf" / "mine.yaml").touch()
    assert dirty() is True
    git("add", "-A")
    git("commit", "-qm", "b")
    assert dirty() is False
    (tmp_path / "conf" / "mine.yaml").write_text("a: 1")
    assert dirty() is True
    monkeypatch.setenv("HSPACE_EXP_COMMIT", "abc")
    assert git_state(tmp_path) == {"commit": "abc", "dirty": False}
