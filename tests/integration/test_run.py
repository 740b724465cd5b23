"""The main job from end to end through its command line, on a tiny world."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hspace_exp.concepts.concept import load_concept
from hspace_exp.errors import UserError
from hspace_exp.generation.manifest import read_manifest
from hspace_exp.io.images import load_images
from hspace_exp.methods.lwim import Localised
from hspace_exp.results.record import differences, read_record
from hspace_exp.results.write import finished as whole_run

Cli = Callable[..., Any]
SAM = "mask.checkpoint={world}/sam"


@pytest.fixture
def lwim(world: Path, arguments: list[str]) -> list[str]:
    """The paper's method, with the tiny SAM."""
    return [*arguments, "method=lwim", SAM.format(world=world)]


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run lies that ``finished`` copies."""
    return tmp_path_factory.mktemp("finished")


@pytest.fixture
def finished(cli: Cli, lwim: list[str], made_once: Path, tmp_path: Path) -> Path:
    """The folder of a finished run of ``lwim``, a copy: its cache lies beside it, as ``lwim`` says."""
    if not (made_once / "run" / "record.json").exists():
        outcome = cli(*lwim, f"paths.cache={made_once / 'cache'}", f"hydra.run.dir={made_once / 'run'}")
        assert outcome.code == 0, outcome.error
    for name in ("cache", "run"):
        shutil.copytree(made_once / name, tmp_path / name)
    return tmp_path / "run"


def test_a_run_leaves_what_it_promises_and_then_does_nothing(cli: Cli, lwim: list[str], tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    outcome = cli(*lwim, f"hydra.run.dir={run_dir}")
    assert outcome.code == 0, outcome.error
    record = read_record(run_dir)
    assert (record.experiment, record.method, record.attribute) == ("gender_fairness", "lwim", "gender")
    assert {"deviation_ratio", "success", "clip_alignment", "subject_alignment", "fid", "background_psnr"} <= set(
        record.metrics
    )
    assert {"background_ssim", "scene_kept", "entanglement", "bias_amplification"} <= set(record.metrics)
    assert [row["profession"] for row in record.per_profession] == ["carpenter", "nurse"]
    stages = {"loading", "concepts", "masks", "training", "generation", "evaluation"}
    assert set(record.seconds) == stages
    (shared,) = (tmp_path / "cache").glob("*/mask_metrics.json")
    assert record.metrics["mask_iou"].n == json.loads(shared.read_text())["mask_iou"]["n"] == 72
    for name in ("grid.png", "strip.png", "masks.png", "table.md", "manifest.csv", ".hydra/config.yaml"):
        assert (run_dir / name).is_file(), name
    pairs = read_manifest(run_dir / "manifest.csv")
    assert sorted((p.profession, p.seed_index) for p in pairs) == [
        ("carpenter", 0), ("carpenter", 1), ("nurse", 0), ("nurse", 1)
    ]  # fmt: skip
    for profession in ("nurse", "carpenter"):
        assert {p.target for p in pairs if p.profession == profession} == {"female", "male"}
    female = load_concept(run_dir / "concepts" / "female.safetensors")
    assert (female.method, female.attribute, female.kind) == ("lwim", "gender", "spatial")
    assert female.vector.abs().max() > 0
    assert not (run_dir / "concepts" / ".checkpoints").exists()

    before = {p: p.stat().st_mtime_ns for p in run_dir.rglob("*.png")}
    again = cli(*lwim, f"hydra.run.dir={run_dir}")
    assert again.code == 0
    assert "nothing to do" in again.error
    assert {p: p.stat().st_mtime_ns for p in run_dir.rglob("*.png")} == before


def test_the_same_seed_gives_the_same_record_from_scratch(
    cli: Cli, lwim: list[str], finished: Path, tmp_path: Path
) -> None:
    a, b = finished, tmp_path / "b" / "run"
    outcome = cli(*lwim, f"paths.cache={tmp_path / 'b' / 'cache'}", f"hydra.run.dir={b}")
    assert outcome.code == 0, outcome.error
    assert "training" in read_record(b).seconds
    assert differences(read_record(a), read_record(b)) == []
    files = [path.relative_to(a) for path in sorted(a.rglob("*.png"))]
    assert len(files) == 11  # four pairs, and pictures of them and of the masks
    for file in [*files, Path("judged.csv"), Path("manifest.csv")]:
        assert (a / file).read_bytes() == (b / file).read_bytes(), file
    vectors = [load_concept(run / "concepts" / "female.safetensors").vector for run in (a, b)]
    assert torch.equal(*vectors)


def flip(path: Path) -> None:
    """Change one bit of a file's data."""
    data = bytearray(path.read_bytes())
    data[int(0.7 * len(data))] ^= 1
    path.write_bytes(data)


def swap(one: Path, other: Path) -> None:
    """Put two files in each other's place."""
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(held)


def harm(path: Path, how: str) -> None:
    """Damage a file in one of five ways."""
    held = path.read_bytes()
    path.unlink()
    if how == "a folder":
        path.mkdir()
        (path / "inside").write_text("something")
    elif how != "gone":
        path.write_bytes({"empty": b"", "cut": held[: len(held) // 2], "not UTF-8": b"\xff\xfe" + held}[how])


def unlike(before: dict[Path, bytes]) -> list[Path]:
    """Which files hold something else now."""
    return [path for path, held in before.items() if path.read_bytes() != held]


def test_a_finished_run_is_known_without_torch(lwim: list[str], finished: Path) -> None:
    code = "import sys; from hspace_exp.__main__ import main; print(main(), 'torch' in sys.modules)"
    words = [sys.executable, "-c", code, *lwim, f"hydra.run.dir={finished}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "0 False\n"
    assert "is done already: nothing to do" in done.stderr


def test_a_run_that_lacks_something_leaves_the_results_that_are_there(
    cli: Cli, lwim: list[str], finished: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.suffix in (".json", ".csv", ".png")}
    outcome = cli(*lwim, f"model.source={tmp_path / 'nowhere'}", f"hydra.run.dir={finished}")
    assert outcome.code == 2
    assert "nowhere does not exist" in outcome.error
    assert unlike(before) == []


def test_a_flipped_bit_anywhere_is_noticed_and_all_is_made_again(
    cli: Cli, lwim: list[str], finished: Path, tmp_path: Path
) -> None:
    kinds = ("*.safetensors", "*.png", "mask_metrics.json", "manifest.csv", "judged.csv")
    before, record = {p: p.read_bytes() for kind in kinds for p in tmp_path.rglob(kind)}, read_record(finished)
    assert len(before) > 30
    for path in before:
        flip(path)
    outcome = cli(*lwim, f"hydra.run.dir={finished}")
    assert outcome.code == 0, outcome.error
    assert unlike(before) == []
    assert [path for path in before if str(path.parent) not in outcome.error] == []
    assert differences(record, read_record(finished)) == []
    assert "nothing to do" in cli(*lwim, f"hydra.run.dir={finished}").error


def test_swapped_files_are_noticed_by_what_they_say_of_themselves(
    cli: Cli, lwim: list[str], finished: Path, tmp_path: Path
) -> None:
    before = {p: p.read_bytes() for kind in ("*.safetensors", "*.png") for p in tmp_path.rglob(kind)}
    record = read_record(finished)
    for folder in (finished, *(path.parent for path in (tmp_path / "cache").glob("*/female.safetensors"))):
        swap(*sorted(folder.rglob("*male.safetensors")))
    for name in ("original", "edited"):
        swap(*sorted((finished / "images" / name / "nurse").glob("*.png")))
    swap(*sorted((tmp_path / "cache").glob("*/block-000000.safetensors")))
    for name in ("record.json", "checksums.json"):  # as of a run that stopped before it was done
        (finished / name).unlink()
    outcome = cli(*lwim, f"hydra.run.dir={finished}")
    assert outcome.code == 0, outcome.error
    assert "female.safetensors is damaged, or another's" in outcome.error
    assert "nurse/0000.png is damaged or another's" in outcome.error
    assert unlike(before) == []
    assert differences(record, read_record(finished)) == []


def test_what_a_run_promises_is_made_again(cli: Cli, lwim: list[str], finished: Path, tmp_path: Path) -> None:
    ways, record = ("gone", "empty", "cut", "not UTF-8"), read_record(finished)
    originals = [f"{profession}/000{i}.png" for profession in ("nurse", "carpenter") for i in (0, 1)]
    images, concepts = finished / "images", finished / "concepts"
    (shared,) = (tmp_path / "cache").glob("*/mask_metrics.json")
    harmed = {
        **{images / "original" / name: way for name, way in zip(originals, ways, strict=True)},
        **{finished / name: way for name, way in zip(("judged.csv", "grid.png", "strip.png"), ways[1:], strict=True)},
        **{images / "edited/nurse/0001.png": "a folder", concepts / "male.safetensors": "a folder"},
        **{concepts / "female.safetensors": "cut", shared: "cut", finished / "masks.png": "a folder"},
        **{finished / "manifest.csv": "not UTF-8", images / "edited/made_by.txt": "not UTF-8"},
    }  # fmt: skip
    before = {path: path.read_bytes() for path in harmed}
    for path, how in harmed.items():
        harm(path, how)
    outcome = cli(*lwim, f"hydra.run.dir={finished}")
    assert outcome.code == 0, outcome.error
    assert "Traceback" not in outcome.error
    assert unlike(before) == []
    assert differences(record, read_record(finished)) == []


@pytest.mark.parametrize("how", ["empty", "cut", "not UTF-8", "a folder"])
def test_a_harmed_record_is_noticed(lwim: list[str], finished: Path, how: str) -> None:
    config = read_record(finished).config
    assert whole_run(finished, config) is not None
    harm(finished / "record.json", how)
    with pytest.raises(UserError, match="record"):
        read_record(finished)
    assert whole_run(finished, config) is None
    assert not (finished / "record.json").exists()


def test_a_number_changed_in_a_record_is_noticed(lwim: list[str], finished: Path) -> None:
    path = finished / "record.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(UserError, match="is not what its run wrote"):
        read_record(finished)


def test_killed_in_training_and_run_again_gives_the_same_record(
    cli: Cli, lwim: list[str], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished.parent / "cache", tmp_path / "own")
    steps = [*lwim, "protocol.training_steps=60"]
    assert cli(*steps, f"hydra.run.dir={tmp_path / 'whole'}").code == 0
    steps.append(f"paths.cache={tmp_path / 'own'}")  # finished vectors are found in the other one
    honest, calls = Localised.__call__, []

    def stop(self: Localised, *arguments: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 56:
            raise KeyboardInterrupt
        return honest(self, *arguments)

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Localised, "__call__", stop)
        outcome = cli(*steps, f"hydra.run.dir={tmp_path / 'parts'}")
    signal.signal(signal.SIGINT, handler)
    assert outcome.code == 130
    assert "interrupted" in outcome.error
    assert not (tmp_path / "parts" / "record.json").exists()
    assert not list((tmp_path / "parts").rglob("*.part"))
    outcome = cli(*steps, f"hydra.run.dir={tmp_path / 'parts'}")
    assert outcome.code == 0
    assert "goes on from step 50 of 60" in outcome.error
    assert differences(read_record(tmp_path / "whole"), read_record(tmp_path / "parts")) == []
    vectors = [load_concept(tmp_path / name / "concepts" / "male.safetensors").vector for name in ("whole", "parts")]
    torch.testing.assert_close(*vectors, rtol=0, atol=0)


def test_the_chunk_size_changes_no_image(cli: Cli, lwim: list[str], tmp_path: Path) -> None:
    for name, size in (("a", 1), ("b", 4)):
        cache = f"paths.cache={tmp_path / name / 'cache'}"
        assert cli(*lwim, f"chunk_size={size}", cache, f"hydra.run.dir={tmp_path / name}").code == 0
    records = [read_record(tmp_path / name) for name in "ab"]
    assert records[0].config_digest == records[1].config_digest
    for path in (tmp_path / "a" / "images").rglob("*.png"):
        other = np.asarray(Image.open(tmp_path / "b" / path.relative_to(tmp_path / "a"))).astype(int)
        assert np.abs(np.asarray(Image.open(path)).astype(int) - other).max() <= 2


def test_strength_zero_is_the_unedited_model(cli: Cli, lwim: list[str], finished: Path, tmp_path: Path) -> None:
    assert cli(*lwim, "method.strength=0", "frequency=none", f"hydra.run.dir={tmp_path / 'zero'}").code == 0
    assert "training" not in read_record(tmp_path / "zero").seconds  # with the vectors of the other run
    pairs = read_manifest(tmp_path / "zero" / "manifest.csv")
    assert all(p.original != p.edited for p in pairs)
    assert torch.equal(load_images([p.original for p in pairs]), load_images([p.edited for p in pairs]))


def test_another_strength_uses_the_vectors_that_are_there(
    cli: Cli, lwim: list[str], finished: Path, tmp_path: Path
) -> None:
    first, second = finished, tmp_path / "second"
    outcome = cli(*lwim, "method.strength=0.5", f"hydra.run.dir={second}")
    assert outcome.code == 0, outcome.error
    assert "training" not in read_record(second).seconds
    one, other = (load_concept(folder / "concepts" / "male.safetensors") for folder in (first, second))
    assert torch.equal(one.vector, other.vector)
    assert (one.hyperparameters["strength"], other.hyperparameters["strength"]) == (2.0, 0.5)


def test_the_focused_method_holds_what_it_is_not_asked_to_change(
    cli: Cli, arguments: list[str], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    outcome = cli(*arguments, "method=focused", f"hydra.run.dir={run_dir}")
    assert outcome.code == 0, outcome.error
    concepts = {path.stem: load_concept(path) for path in (run_dir / "concepts").glob("*.safetensors")}
    assert {name: c.attribute for name, c in concepts.items()} == {
        **dict.fromkeys(("female", "male"), "gender"),
        **dict.fromkeys(("young", "old"), "age"),
        **dict.fromkeys(("light", "tan", "dark"), "skin_tone"),
    }
    assert all(c.presence is not None and c.presence.shape == c.h_shape for c in concepts.values())
    assert {p.target for p in read_manifest(run_dir / "manifest.csv")} == {"female", "male"}
    alone = cli(*arguments, "method=focused", "method.edit.keep=0", f"hydra.run.dir={tmp_path / 'alone'}")
    assert alone.code == 0, alone.error
    assert {path.stem for path in (tmp_path / "alone" / "concepts").glob("*.safetensors")} == {"female", "male"}


@pytest.mark.parametrize("mask", ["attention", "oracle", "none"])
def test_other_masks_train_too(cli: Cli, arguments: list[str], tmp_path: Path, mask: str) -> None:
    outcome = cli(*arguments, "method=lwim", f"mask={mask}", f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.code == 0, outcome.error
    assert read_record(tmp_path / "run").config["mask"]["_target_"].split(".")[-2] == mask


def test_a_sweep_of_methods_shares_the_cache(
    cli: Cli, lwim: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shared = [a for a in lwim if not a.startswith("mask.")]
    outcome = cli("-m", *shared, "mask=attention", "method=original,sdid", "seed=0,1")
    assert outcome.code == 0, outcome.error
    records = [read_record(path) for path in sorted((tmp_path / "outputs").rglob("record.json"))]
    assert sorted((r.method, r.seed) for r in records) == [("original", 0), ("original", 1), ("sdid", 0), ("sdid", 1)]
    assert all(r.metrics["success"].n == 0 for r in records if r.method == "original")
    assert len(list((tmp_path / "cache").glob("*/manifest.json"))) == 2  # x+ of two concepts, made once


def test_csv_and_offline_wandb_logs(
    cli: Cli, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    base = [*arguments, "method=sdid", "trainer.log_every_n_steps=1"]
    assert cli(*base, "logger=csv", f"hydra.run.dir={tmp_path / 'csv'}").code == 0
    text = (tmp_path / "csv" / "metrics.csv").read_text()
    assert "loss/female" in text
    assert "metrics/deviation_ratio" in text
    assert cli(*base, "logger=wandb", f"hydra.run.dir={tmp_path / 'wandb'}").code == 0
    assert list((tmp_path / "wandb" / "wandb").glob("offline-run-*/*.wandb"))


def test_ctrl_c_is_one_line_and_130(forked: Callable[..., ForkProcess], arguments: list[str], tmp_path: Path) -> None:
    written = tmp_path / "written"
    endless = ["method=sdid", "protocol.training_steps=100000", f"hydra.run.dir={tmp_path / 'run'}"]
    running = forked(written, *arguments, *endless)
    while running.is_alive() and "training …" not in written.read_text():
        time.sleep(0.02)
    seen = written.read_text()
    assert "training …" in seen
    assert running.pid is not None
    os.kill(running.pid, signal.SIGINT)
    running.join(60)
    rest = written.read_text().removeprefix(seen)
    assert running.exitcode == 130
    assert "Traceback" not in rest
    assert rest.strip().splitlines()[-1].startswith("interrupted")
    assert not (tmp_path / "run" / "record.json").exists()
