"""The whole main job on tiny pipelines of each published family: their own blocks, text encoders and schedulers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.layouts import LAYOUTS
from hspace_exp.concepts.concept import load_concept
from hspace_exp.generation.manifest import read_manifest
from hspace_exp.io.images import load_images
from hspace_exp.results.record import read_record

# Of diffusers' Euler scheduler, with this NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Cli = Callable[..., Any]
H_SHAPES = {
    "sd14": (32, 2, 2),
    "sd21": (32, 2, 2),
    "sdxl": (32, 4, 4),
    "pixart": (16, 8, 8),
    "sd3": (16, 8, 8),
    "sana": (16, 4, 4),
    "flux": (32, 8, 8),
}
JOINT = {"sd3", "flux"}  # attend to image and text jointly
CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="session")
def photo_judge(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that make the evaluator of photographs judge with an OpenCLIP model of random weights."""
    folder = tmp_path_factory.mktemp("open_clip")
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**CLIP).state_dict(), folder / "weights.safetensors")
    (folder / "Tiny-8.json").write_text(json.dumps(CLIP))
    open_clip.add_model_config(folder / "Tiny-8.json")
    return ["evaluator=photos", "evaluator.model=Tiny-8", f"evaluator.weights={folder / 'weights.safetensors'}"]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What runs of one family share, as those of a study do."""
    return tmp_path_factory.mktemp("cache")


CHOICES = {
    "sdid-fft": ["method=sdid", "frequency=fft"],
    "lwim-attention": ["method=lwim", "mask=attention"],
    "lwim-sam": ["method=lwim", "mask=sam", "mask.checkpoint={world}/sam"],
    # So blunt a readout finds a need in every sample: a model of random weights shows no attribute to be read.
    "focused-0.05": ["method=focused", "method.edit.sharpness=0.05"],
    "score_matching-bfloat16": ["method=score_matching", "model.dtype=bfloat16"],
}
QUICK = {  # each choice and family at least once
    *itertools.product(["sdid-fft"], ["sd14", "flux", "pixart"]),
    *itertools.product(["lwim-attention"], ["sdxl", "sana"]),
    *itertools.product(["lwim-sam"], ["sd21", "sd3"]),
    ("focused-0.05", "sdxl"),
    ("score_matching-bfloat16", "sd21"),
}
# What stands for a choice that reads or changes cross-attention, where there is none.
INSTEAD = {"method=lwim": "method=lwim_no_chi", "method=focused": "method=focused_no_gate"}
INSTEAD |= {"mask=attention": "mask.heat=difference"}


def choices_of(name: str, family: str) -> list[str]:
    chosen = CHOICES[name]
    if family not in JOINT:
        return chosen
    found = [INSTEAD.get(one, one) for one in chosen]
    return ["mask=attention", *found] if "mask=attention" in chosen else found


@pytest.mark.parametrize(
    ("choices", "family"),
    [
        pytest.param(
            choices_of(name, family),
            family,
            id=f"{name}-{family}",
            marks=[pytest.mark.slow] * ((name, family) not in QUICK),
        )
        for name, family in itertools.product(CHOICES, H_SHAPES)
    ],
)
def test_the_main_job_on(
    cli: Cli,
    world: Path,
    tiny_family: Callable[[str], Path],
    photo_judge: list[str],
    shared: Path,
    tmp_path: Path,
    family: str,
    choices: list[str],
) -> None:
    run_dir = tmp_path / "run"
    outcome = cli(
        "+experiment=gender_fairness",
        f"model={family}",
        f"model.path={tiny_family(family)}",
        *(["model.site=block:1"] if LAYOUTS[family].is_transformer else []),  # tiny ones have four blocks
        *(["model.image_size=128"] if family == "flux" else []),
        *(choice.format(world=world) for choice in choices),
        *photo_judge,
        "method.strength=2.0",
        "protocol=smoke",
        "protocol.professions=[nurse,carpenter]",
        "protocol.images_per_profession=2",
        "protocol.training_images=4",
        "protocol.training_steps=2",
        "protocol.num_inference_steps=2",
        "evaluator.repeats=20",
        "logger=none",
        "device=cpu",
        f"paths.cache={shared / family}",
        f"hydra.run.dir={run_dir}",
    )
    assert outcome.code == 0, outcome.error
    method = next(one.split("=")[1] for one in choices if one.startswith("method="))
    record = read_record(run_dir)
    assert (record.method, record.config["model"]["name"]) == (method, family)
    assert {"deviation_ratio", "success", "fid"} <= set(record.metrics)
    concept = load_concept(run_dir / "concepts" / "female.safetensors")
    assert concept.h_shape == H_SHAPES[family]
    assert concept.vector.abs().max() > 0
    pairs = read_manifest(run_dir / "manifest.csv")
    before, after = (load_images([getattr(p, kind) for p in pairs]) for kind in ("original", "edited"))
    assert before.shape == (4, 128, 128, 3)
    assert not torch.equal(before, after)


@pytest.mark.parametrize(
    ("method", "told"),
    [
        (["method=focused"], "use method=focused_no_gate (or method.edit.gate=null)"),
        (
            ["method=lwim", "mask=attention"],
            "use method=lwim_no_chi (or method.training.objective.scope=null) and mask=sam (or mask.heat=difference)",
        ),
    ],
)
def test_what_reads_cross_attention_is_refused_at_once_where_there_is_none(
    cli: Cli, tiny_family: Callable[[str], Path], photo_judge: list[str], tmp_path: Path, method: list[str], told: str
) -> None:
    places = [f"model.path={tiny_family('sd3')}", "model.site=block:1", f"hydra.run.dir={tmp_path / 'run'}"]
    given = ["model=sd3", *method, *places, *photo_judge, "protocol=smoke", "device=cpu", f"paths.cache={tmp_path}"]
    outcome = cli("+experiment=gender_fairness", *given, "logger=none")
    assert outcome.code == 2
    told = f"error: 'sd3' attends to image and text jointly, with no cross-attention: {told}"
    assert outcome.error.splitlines()[-1] == told


def test_strengths_of_photographs_are_found_without_being_asked_for(
    cli: Cli, tiny_family: Callable[[str], Path], photo_judge: list[str], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    outcome = cli(
        "+experiment=gender_fairness",
        "model=sd15",
        "method=focused",
        f"model.path={tiny_family('sd15')}",
        *photo_judge,
        "method.edit.sharpness=0.05",  # see CHOICES
        "protocol=smoke",
        "protocol.professions=[driver]",
        "protocol.images_per_profession=2",
        "protocol.training_images=2",
        "protocol.training_steps=2",
        "protocol.num_inference_steps=2",
        "calibration.images=4",
        "calibration.points=3",
        "evaluator.repeats=20",
        "logger=none",
        "device=cpu",
        f"paths.cache={tmp_path / 'cache'}",
        f"hydra.run.dir={run_dir}",
    )
    assert outcome.code == 0, outcome.error
    record, told = read_record(run_dir), json.loads((run_dir / "calibration.json").read_bytes())
    assert record.config["method"]["strength"] == "auto"
    assert record.details["calibration"] == told
    assert told["guidance_scale"] == 7.5
    assert told["settings"]["professions"] == record.config["prompts"]["groups"]["validation"]
    tried = [point for one in told["concepts"].values() for point in one["curve"]]
    # each of the eight images is asked for what it does not show, at most two strengths a concept
    assert 8 <= sum(point["images"] for point in tried) <= 16
    assert {point["strength"] for point in tried} <= {0.25, 2.0, 16.0}
    pairs = read_manifest(run_dir / "manifest.csv")
    assert {pair.target for pair in pairs} == {"female", "male"}
    for pair in pairs:
        assert pair.strength == told["concepts"][pair.target]["strength"]
        stated = load_concept(run_dir / "concepts" / f"{pair.target}.safetensors").hyperparameters
        assert (stated["strength"], stated["guidance_scale"]) == (pair.strength, 7.5)
    before, after = (load_images([getattr(p, kind) for p in pairs]) for kind in ("original", "edited"))
    assert not torch.equal(before, after)


def test_a_hub_that_does_not_answer_is_one_line_that_says_what_to_do(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    outcome = cli("+experiment=gender_fairness", "model=sd15", "method=sdid", f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.code == 2
    (line,) = [line for line in outcome.error.splitlines() if line.strip()]
    assert line.startswith("error: this run needs what is not here, and http://127.0.0.1:9 does not answer")
    for part in ("hf download stable-diffusion-v1-5", "--revision 451f4fe1", "model.path=", "evaluator.weights="):
        assert part in line
