"""Wrong input on the command line: one line that says what to do, exit code 2, no record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


def refused(outcome: Any, *words: str) -> None:
    """Assert that the last line is the only error line and has the words."""
    assert outcome.code == 2, outcome.error
    lines = [line for line in outcome.error.splitlines() if line.strip()]
    assert sum(line.startswith("error: ") for line in lines) == 1, outcome.error
    assert lines[-1].startswith("error: ")
    assert "Traceback" not in outcome.error
    for word in words:
        assert word in lines[-1]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("method=sdidd", ["unknown method 'sdidd'", "Did you mean 'sdid'", "h_guidance", "lwim", "original, pca"]),
        ("model=sd1", ["unknown model 'sd1'", "sd14"]),
        ("attribute=gendr", ["Did you mean 'gender'", "skin_tone"]),
        ("protocl=smoke", ["unknown key 'protocl'", "Did you mean 'protocol'"]),
        ("protocol.images=3", ["unknown key of protocol 'images'", "images_per_profession"]),
        ("method.trainig.vector=channel", ["unknown key of method 'trainig'", "Did you mean 'training'"]),
        ("protocol.training_steps=many", ["protocol.training_steps", "many"]),
        ("protocol.images_per_profession=-4", ["protocol.images_per_profession", "-4"]),
        ("protocol.professions=[nurze]", ["unknown profession 'nurze'", "Did you mean 'nurse'"]),
        ("protocol.professions=[]", ["protocol.professions=[]: expected at least 1"]),
        ("protocol.assignment=queen", ["unknown assignment", "balanced, random, female, male"]),
        ("device=gpu", ["auto, cpu, cuda"]),
        ("trainer.devices=0", ["trainer.devices", "at least 1"]),
        ("trainer.strategy=ddp", ["unknown key of trainer 'strategy'"]),
        ("model.source=/nowhere/at/all", ["/nowhere/at/all", "does not exist"]),
        ("method.branch=all", ["method.branch", "conditional"]),
        ("method.strength=abc", ["method.strength=abc: expected a valid number"]),
        ("hydra.run.dir=/proc/nothing/here", ["/proc/nothing", "hydra.run.dir"]),
        ("hydra.run.dir=", ["hydra.run.dir", "is empty"]),
        ("method=null", ["unknown method 'null'", "sdid"]),
        ("protocol.num_inference_steps=1001", ["1001 is more than the 1000 steps of this model's schedule"]),
        ("optimized_metric=nosuch", ["unknown optimized_metric 'nosuch'", "deviation_ratio"]),
        ("method.strength=1e300", ["expected a strength of female between"]),
        ("paths.cache=/proc/nothing/here", ["/proc/nothing", "paths.cache"]),
        ("evaluator.weights=/nowhere", ["/nowhere"]),
        ("prompts.templates=['a photo of {a} {profession} " + "and a nurse " * 12 + "']", ["tokens", "shorten"]),
    ],
)
def test_bad_input_is_one_line(cli: Cli, arguments: list[str], tmp_path: Path, bad: str, words: list[str]) -> None:
    here = [] if bad.startswith("hydra.run.dir") else [f"hydra.run.dir={tmp_path / 'run'}"]
    refused(cli(*arguments, *here, bad), *words)
    assert list(tmp_path.iterdir()) == []  # a refused command leaves nothing behind


def test_typos_in_experiment_files_name_the_key(cli: Cli, arguments: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    run_dir = f"hydra.run.dir={tmp_path / 'run'}"
    for body, words in (
        ("protocol: {training_stepz: 3}", ["training_stepz", "Did you mean 'training_steps'"]),
        ("protocl: {training_steps: 3}", ["'protocl'", "Did you mean 'protocol'"]),
        ("method: {strenth: 3}", ["key of method 'strenth'", "Did you mean 'strength'"]),
        ("defaults: [{override /method: sdidd}]", ["unknown method 'sdidd'", "Did you mean 'sdid'"]),
    ):
        (folder / "typo.yaml").write_text(f"# @package _global_\n{body}\n")
        refused(cli("--config-dir", str(tmp_path / "mine"), "+experiment=typo", *arguments[1:], run_dir), *words)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"a: [", "expected the node content"),
        (b"a: \xe9", "UnicodeDecodeError"),
        (b"a: \0", "unacceptable character"),
        (b"# @package _global_\ndefaults: [mine]\n", "RecursionError"),
        (b"# @package _global_\nseed: ${seed}\n", "Recursive interpolation"),
        (b"# @package _global_\nname: ${nosuch:1}\n", "Unsupported interpolation type nosuch"),
    ],
)
def test_files_of_conf_that_are_none_are_one_line(cli: Cli, tmp_path: Path, body: bytes, words: str) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "mine.yaml").write_bytes(body)
    run_dir = f"hydra.run.dir={tmp_path / 'run'}"
    refused(cli("--config-dir", str(tmp_path / "mine"), "+experiment=mine", run_dir), words)
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("error")  # Hydra warns of what is raised while it begins
def test_a_group_of_what_is_not_there_is_one_line_and_leaves_nothing(cli: Cli, tmp_path: Path) -> None:
    here = f"hydra.run.dir={tmp_path / 'run'}"
    refused(cli("+experiment=gender_fairness", here, "++paths=${nosuch}"), "Interpolation key 'nosuch' not found")
    assert not (tmp_path / "run").exists()


def test_a_sweep_of_nothing_leaves_nothing(cli: Cli, tmp_path: Path) -> None:
    refused(cli("-m", "+experiment=gender_fairness", "method=sdidd", f"hydra.sweep.dir={tmp_path / 'o'}"), "sdidd")
    refused(
        cli("-m", "+experiment=gender_fairness", "method=range(1)", f"hydra.sweep.dir={tmp_path / 'o'}"), "composed"
    )
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_that_are_not_there_are_found_before_images_are_made(
    cli: Cli, arguments: list[str], tmp_path: Path
) -> None:
    here = f"hydra.run.dir={tmp_path / 'run'}"
    refused(cli(*arguments, "method=lwim", here, "mask.checkpoint=/no/such"), "mask.checkpoint names no folder")
    assert list(tmp_path.iterdir()) == []


def test_prompts_and_folders_are_taken_as_they_are(cli: Cli, arguments: list[str], tmp_path: Path) -> None:
    words = ["attribute=custom", "attribute.positive=a smiling, person", "attribute.neutral=a person"]
    run = tmp_path / "it's, 1"
    outcome = cli(*arguments, *words, "method=sdid", f"hydra.run.dir={run}", "stages=[concepts]")
    assert outcome.code == 0, outcome.error
    assert "a smiling, person" in (run / ".hydra" / "config.yaml").read_text()


def test_stages_out_of_order_say_what_to_run_first(cli: Cli, arguments: list[str], tmp_path: Path) -> None:
    base = [*arguments, "method=sdid", f"hydra.run.dir={tmp_path / 'run'}"]
    refused(cli(*base, "stages=[generation]"), "run the stage training first")
    refused(cli(*base, "stages=[evaluation]"), "run the generation stage first")


def test_a_concept_of_another_shape_is_trained_again(cli: Cli, arguments: list[str], tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    base = [*arguments, "method=sdid", f"hydra.run.dir={tmp_path / 'run'}"]
    assert cli(*base, "stages=[concepts,training]").code == 0
    path = tmp_path / "run" / "concepts" / "female.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata, vector = file.metadata(), file.get_tensor("vector")
    save_file({"vector": vector[:3].contiguous()}, path, metadata)
    outcome = cli(*base)
    assert outcome.code == 0
    assert "female.safetensors" in outcome.error
    assert "trained again" in outcome.error


def test_a_log_that_cannot_be_written_is_one_line(cli: Cli, arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "run" / "run.log").mkdir(parents=True)
    outcome = cli(*arguments, "method=sdid", f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.code == 2
    assert outcome.error.count("\n") == 1
    assert f"cannot use {tmp_path / 'run' / 'run.log'}: Is a directory" in outcome.error
