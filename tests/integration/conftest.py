"""A whole embedded world at tiny size, random weights in the real layout, and the real command line."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest
import torch
from hydra._internal.hydra import Hydra
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from hspace_exp.__main__ import main
from hspace_exp.avatars.probe import AttributeProbe
from hspace_exp.masks.sam import build_small_sam
from tests.conftest import build_tiny_pipeline

ROOT = Path(__file__).parents[2]

SAM = {
    "image_size": 32,
    "patch_size": 8,
    "embed_dim": 16,
    "depth": 1,
    "num_heads": 2,
    "global_attn_indexes": [0],
    "window_size": 2,
    "prompt_dim": 32,
    "mlp_dim": 32,
}


@pytest.fixture(scope="session", autouse=True)
def _composed_once_a_run() -> Iterator[None]:
    """Hydra composes a configuration twice, first only to read ``hydra.mode``, which none of these tests sets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hydra, "get_mode", lambda *_, **__: None)
        yield


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as the embedded weights: pipeline, clip, sam and probe; images of 32 px."""
    return build_world(tmp_path_factory.mktemp("world") / "tiny")


def build_world(place: Path) -> Path:
    """Make the folder of ``world``."""
    import open_clip

    folder = build_tiny_pipeline(place)
    tokens = len(CLIPTokenizer.from_pretrained(folder / "tokenizer"))
    torch.manual_seed(0)
    text = {"context_length": 16, "vocab_size": tokens, "width": 16, "heads": 2, "layers": 1}
    cfg = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
        "text_cfg": text,
    }
    for name in ("clip", "sam"):
        (folder / name).mkdir()
    half = [0.5, 0.5, 0.5]
    config = {"model_cfg": cfg, "preprocess_cfg": {"mean": half, "std": half}}
    (folder / "clip" / "open_clip_config.json").write_text(json.dumps(config))
    save_file(open_clip.CLIP(**cfg).state_dict(), folder / "clip" / "model.safetensors")
    (folder / "sam" / "config.json").write_text(json.dumps(SAM))
    save_file(build_small_sam(SAM).state_dict(), folder / "sam" / "model.safetensors")
    save_file(AttributeProbe().state_dict(), folder / "probe.safetensors")
    return folder


@pytest.fixture
def arguments(world: Path, tmp_path: Path) -> list[str]:
    """Overrides for a run of a second on the tiny world; results and cache lie in ``tmp_path``."""
    return [*tiny_run(world), f"paths.cache={tmp_path / 'cache'}"]


def tiny_run(world: Path) -> list[str]:
    """Overrides for a run of a second."""
    return [
        "+experiment=gender_fairness",
        "protocol=smoke",
        "protocol.professions=[nurse,carpenter]",
        "protocol.images_per_profession=2",
        "protocol.training_images=4",
        "protocol.training_steps=3",
        "protocol.num_inference_steps=2",
        "method.strength=2.0",  # strengths that are found: test_calibration.py
        "logger=none",
        "device=cpu",
        "chunk_size=2",
        f"model.source={world}",
        f"evaluator.weights={world}",
        "evaluator.labelled=0",
        "evaluator.repeats=20",
    ]


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What runs of ``study`` share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def study(arguments: list[str], shared_cache: Path) -> list[str]:
    """``arguments`` of tests that ask what a run does with vectors, not whether it learns them: one cache for all."""
    return [*arguments, f"paths.cache={shared_cache}"]


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    error: str
    output: str


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Outcome]]:
    """``python -m hspace_exp …`` inside this process: its exit code and what it wrote to stderr and stdout."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["hspace_exp", *arguments])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        try:
            code = main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        written = capsys.readouterr()
        return Outcome(code, written.err, written.out)

    yield run
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def process() -> Callable[..., subprocess.Popen[str]]:
    """Start ``python -m hspace_exp …`` in a process of its own."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "hspace_exp", *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    return start


@pytest.fixture
def forked() -> Iterator[Callable[..., ForkProcess]]:
    """Start the command line in a process of its own that has all modules already, a copy of this one.

    What it writes goes to the file ``written``; ``prepare`` is called first. Its exit code is that of the command.
    """
    started = []

    def start(written: Path, *arguments: str, prepare: Callable[[], None] = lambda: None) -> ForkProcess:
        def child() -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.stdout = sys.stderr = written.open("w", buffering=1)
            for stream in (1, 2):
                os.dup2(sys.stderr.fileno(), stream)
            sys.argv = ["hspace_exp", *arguments]
            prepare()
            sys.exit(main())

        written.touch()
        started.append(multiprocessing.get_context("fork").Process(target=child))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.join()


@pytest.fixture
def sweep(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """``-m`` and everything but what is swept; results lie in ``tmp_path``/outputs."""
    monkeypatch.chdir(tmp_path)
    short = "hydra.sweep.subdir=${name}/${method.name}/${seed}"
    return ["-m", *arguments, "mask=attention", "method=original,sdid", short]


@pytest.fixture
def sweep_twice(process: Callable[..., subprocess.Popen[str]], sweep: list[str], tmp_path: Path) -> Callable[..., None]:
    """Sweep with a launcher's overrides: two jobs of four fail and are named, then only what is missing is made."""

    def check(*launcher: str, seconds: float = 240) -> None:
        outputs = tmp_path / "outputs" / "gender_fairness"
        running = process(*sweep, "seed=0,-1", *launcher)
        written, error = running.communicate(timeout=seconds)
        assert running.returncode == 1, error
        assert error.splitlines()[-4:] == [
            "2 of 4 jobs failed:",
            "  gender_fairness/original/-1: seed=-1: expected greater than or equal to 0",
            "  gender_fairness/sdid/-1: seed=-1: expected greater than or equal to 0",
            "the same command makes only what is missing",
        ]
        assert (outputs / "summary.md").read_text() in written
        done = [path.parent for path in outputs.rglob("record.json")]
        assert {path.parent.name for path in done} == {"original", "sdid"}

        shutil.rmtree(next(path for path in done if path.parent.name == "sdid"))
        there = outputs / "original" / "0" / "record.json"
        before = there.stat().st_mtime_ns
        running = process(*sweep, "seed=0", *launcher)
        _, error = running.communicate(timeout=seconds)
        assert running.returncode == 0, error
        assert there.stat().st_mtime_ns == before
        assert (outputs / "sdid" / "0" / "record.json").exists()

    return check
