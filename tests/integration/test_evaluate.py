"""Images of runs, and of nobody's, judged again through the command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from hspace_exp.avatars import EMBEDDED
from hspace_exp.evaluation.features import OpenClip
from hspace_exp.results.record import RunRecord, read_record

Cli = Callable[..., Any]
CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
QUICK = ("--device=cpu", "--repeats=20")
BARE = "--set=evaluator.labelled=0"


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Published OpenCLIP models that were asked for; a tiny one of random weights stands in for each."""
    asked: list[tuple[str, str]] = []

    def load(model: str, weights: str, device: str = "cpu") -> OpenClip:
        asked.append((model, weights))
        torch.manual_seed(0)
        half = (0.5, 0.5, 0.5)
        return OpenClip(open_clip.CLIP(**CLIP).eval(), open_clip.get_tokenizer("ViT-B-32"), 32, half, half)

    monkeypatch.setattr("hspace_exp.evaluation.evaluators.load_published", load)
    monkeypatch.setattr("hspace_exp.pipeline.run.require", lambda _: None)
    return asked


def same(first: RunRecord, second: RunRecord) -> bool:
    """Whether two records tell the same; that of a run also compares unedited images with themselves."""
    return first.metrics == {name: second.metrics[name] for name in first.metrics if name in second.metrics}


def test_a_run_of_photographs_is_judged_as_the_run_judged_it(
    cli: Cli,
    arguments: list[str],
    tiny_family: Callable[[str], Path],
    loaded: list[tuple[str, str]],
    tmp_path: Path,
) -> None:
    own = [one for one in arguments if not one.startswith(("model.source", "evaluator.weights", "evaluator.labelled"))]
    run, again = tmp_path / "run", tmp_path / "again"
    photos = ["model=sd15", f"model.path={tiny_family('sd14')}", "method=original"]
    outcome = cli(*own, *photos, f"hydra.run.dir={run}")
    assert outcome.code == 0, outcome.error
    outcome = cli("evaluate", str(run), f"--out={again}", *QUICK)
    assert outcome.code == 0, outcome.error
    assert loaded == [("ViT-B-32", "laion2b_s34b_b79k")] * 2
    record = read_record(again)
    assert same(record, read_record(run))
    assert "classifier_accuracy" not in record.metrics
    assert record.config["evaluator"]["_target_"].endswith("PhotoEvaluator")

    outcome = cli("evaluate", str(again), f"--out={tmp_path / 'third'}", *QUICK)  # what an evaluation left
    assert outcome.code == 0, outcome.error
    assert same(read_record(tmp_path / "third"), record)


@pytest.mark.skipif(not (EMBEDDED / "clip").is_dir(), reason="the embedded weights are not there")
def test_only_images_of_a_run_are_judged_without_a_word(cli: Cli, arguments: list[str], tmp_path: Path) -> None:
    run, again = tmp_path / "run", tmp_path / "again"
    own = [one for one in arguments if not one.startswith("evaluator.weights")]
    outcome = cli(*own, "method=sdid", f"hydra.run.dir={run}")
    assert outcome.code == 0, outcome.error
    outcome = cli("evaluate", str(run), f"--out={again}", BARE, *QUICK)
    assert outcome.code == 0, outcome.error
    assert same(read_record(again), read_record(run))

    foreign = tmp_path / "foreign"
    shutil.copytree(run / "images" / "edited", foreign, ignore=shutil.ignore_patterns("*.json"))
    outcome = cli("evaluate", str(foreign), f"--out={tmp_path / 'out'}", *QUICK)
    assert outcome.code == 2
    assert "--evaluator avatars" in outcome.error
    assert "--evaluator photos" in outcome.error
    assert "Choices: avatars, avatars_lpips, avatars_removal, photos" in outcome.error
    assert outcome.error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    outcome = cli("evaluate", str(foreign), "--evaluator=avatars", f"--out={tmp_path / 'out'}", BARE, *QUICK)
    assert outcome.code == 0, outcome.error


def test_an_evaluator_of_ones_own_is_asked_for(cli: Cli, world: Path, arguments: list[str], tmp_path: Path) -> None:
    run, again = tmp_path / "run", tmp_path / "again"
    outcome = cli(*arguments, "method=original", f"hydra.run.dir={run}")  # with weights of its own
    assert outcome.code == 0, outcome.error
    outcome = cli("evaluate", str(run), f"--out={again}", *QUICK)
    assert outcome.code == 2
    assert "differs from avatars in weights" in outcome.error
    outcome = cli("evaluate", str(run), f"--set=evaluator.weights={world}", BARE, f"--out={again}", *QUICK)
    assert outcome.code == 0, outcome.error
    assert same(read_record(again), read_record(run))
