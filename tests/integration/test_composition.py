"""Several concepts at once, from end to end through the command line, on a tiny world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hspace_exp.concepts.concept import load_concept
from hspace_exp.evaluation.evaluators import AvatarEvaluator
from hspace_exp.evaluation.metrics.fairness import BiasAmplification, Success
from hspace_exp.generation.manifest import read_manifest
from hspace_exp.io.images import load_images
from hspace_exp.results.record import read_record

Cli = Callable[..., Any]
BOTH = "attribute=gender_skin_tone"


def shown(run_dir: Path) -> torch.Tensor:
    return load_images([pair.edited for pair in read_manifest(run_dir / "manifest.csv")])


def test_a_composition_shares_the_vectors_of_its_parts(cli: Cli, arguments: list[str], tmp_path: Path) -> None:
    sdid = [*arguments, "method=sdid"]
    for name in ("gender", "skin_tone"):
        assert cli(*sdid, f"attribute={name}", f"hydra.run.dir={tmp_path / name}").code == 0
    outcome = cli(*sdid, BOTH, "protocol.images_per_profession=6", f"hydra.run.dir={tmp_path / 'both'}")
    assert outcome.code == 0, outcome.error
    record = read_record(tmp_path / "both")
    assert "training" not in record.seconds  # all vectors are in the cache
    for group, name in (("gender", "male"), ("skin_tone", "tan")):
        one, other = (load_concept(tmp_path / run / "concepts" / f"{name}.safetensors") for run in (group, "both"))
        assert torch.equal(one.vector, other.vector)
        assert other.attribute == group
    pairs = read_manifest(tmp_path / "both" / "manifest.csv")
    combinations = {f"{gender}+{tone}" for gender in ("female", "male") for tone in ("light", "tan", "dark")}
    for profession in ("nurse", "carpenter"):
        assert {pair.target for pair in pairs if pair.profession == profession} == combinations
    assert record.attribute == "gender_skin_tone"
    assert {"success_gender", "success_skin_tone_probe", "composition_success", "deviation_ratio_gender"} <= set(
        record.metrics
    )
    assert set(record.per_profession[0]["counts"]) == combinations
    again = cli(*sdid, BOTH, "protocol.images_per_profession=6", f"hydra.run.dir={tmp_path / 'both'}")
    assert "nothing to do" in again.error


def test_a_part_without_weight_leaves_the_images_of_the_other_alone(cli: Cli, study: list[str], tmp_path: Path) -> None:
    sdid = [*study, "method=sdid"]
    weights = "method.strength={female:9,male:9,light:0,tan:0,dark:0}"
    both = [BOTH, weights, "protocol.assignment=female+dark", f"hydra.run.dir={tmp_path / 'both'}"]
    alone = ["method.strength=9", "protocol.assignment=female", f"hydra.run.dir={tmp_path / 'alone'}"]
    nothing = [BOTH, "method.strength=0", f"hydra.run.dir={tmp_path / 'nothing'}"]
    for run in (both, alone, nothing):
        outcome = cli(*sdid, *run)
        assert outcome.code == 0, outcome.error
    assert torch.equal(shown(tmp_path / "both"), shown(tmp_path / "alone"))
    assert not torch.equal(shown(tmp_path / "both"), shown(tmp_path / "nothing"))
    unedited = load_images([pair.original for pair in read_manifest(tmp_path / "nothing" / "manifest.csv")])
    assert torch.equal(shown(tmp_path / "nothing"), unedited)


@pytest.mark.parametrize("method", ["sdid", "focused"])
def test_a_composition_of_one_group_is_that_attribute_bit_for_bit(
    cli: Cli, arguments: list[str], tmp_path: Path, method: str
) -> None:
    folder = tmp_path / "mine" / "attribute"
    folder.mkdir(parents=True)
    (folder / "only.yaml").write_text("defaults: [gender@groups.gender]\nname: only\npart: person\n")
    runs = {}
    for name in ("only", "gender"):
        run_dir = f"hydra.run.dir={tmp_path / name}"
        own = [f"attribute={name}", f"method={method}", f"paths.cache={tmp_path / 'cache' / name}"]
        outcome = cli("--config-dir", str(tmp_path / "mine"), *arguments, *own, run_dir)
        assert outcome.code == 0, outcome.error
        runs[name] = read_record(tmp_path / name)
    assert torch.equal(shown(tmp_path / "only"), shown(tmp_path / "gender"))
    one, other = runs["only"].metrics, runs["gender"].metrics
    assert {n: m for n, m in one.items() if n in other} == other
    assert one["success_gender"].heading == "Success (gender)"
    assert replace(one["success_gender"], heading="") == replace(other["success"], heading="")


@pytest.mark.parametrize("method", ["focused", "lwim", "score_matching", "respodiff", "prompt", "pca", "original"])
def test_methods_compose(cli: Cli, world: Path, study: list[str], tmp_path: Path, method: str) -> None:
    mask = [f"mask.checkpoint={world}/sam"] if method == "lwim" else []
    outcome = cli(*study, BOTH, f"method={method}", *mask, f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.code == 0, outcome.error
    record = read_record(tmp_path / "run")
    assert (record.metrics["composition_success"].n == 0) == (method == "original")
    files = {path.stem for path in (tmp_path / "run" / "concepts").glob("*.safetensors")}
    five = {"female", "male", "light", "tan", "dark"}
    assert files == {"focused": {*five, "young", "old"}, "prompt": set(), "original": set()}.get(method, five)
    if method == "lwim":
        assert {"mask_iou_gender", "mask_iou_skin_tone"} <= set(record.metrics)
        assert (tmp_path / "run" / "masks_gender.png").is_file()
        assert (tmp_path / "run" / "masks_skin_tone.png").is_file()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (["method=h_guidance"], "asks for one concept at a time: use attribute=gender or skin_tone"),
        (["protocol.assignment=female+drak"], "Did you mean 'female+dark'"),
        (["method=sdid", "method.strength={female:1,male:1}"], "unknown concept with a strength 'light'"),
    ],
)
def test_what_cannot_be_composed_is_one_line(
    cli: Cli, arguments: list[str], tmp_path: Path, bad: list[str], words: str
) -> None:
    outcome = cli(*arguments, BOTH, *bad, f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.code == 2
    lines = [line for line in outcome.error.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert not any((tmp_path / "cache").glob("*"))


def test_an_attribute_of_ones_own_is_judged_by_its_own_words(
    cli: Cli, world: Path, study: list[str], tmp_path: Path
) -> None:
    assert cli(*study, "method=original", f"hydra.run.dir={tmp_path / 'run'}").code == 0
    pairs = read_manifest(tmp_path / "run" / "manifest.csv")
    asked = [replace(pair, target="smiling") for pair in pairs]
    texts = {"smile": {"smiling": "a photo of a smiling person", "neutral": "a photo of a person"}}
    metrics = {"success": Success(), "bias_amplification": BiasAmplification()}
    found = AvatarEvaluator(world, metrics, labelled=8, repeats=0)(asked, "smile", texts=texts)
    assert set(found.per_profession[0]["counts"]) == {"smiling", "neutral"}
    assert found.metrics["success"].n == 4
    assert not {"classifier_accuracy", "bias_amplification", "success_probe"} & set(found.metrics)  # no truth is known
