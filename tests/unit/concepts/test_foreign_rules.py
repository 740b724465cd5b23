"""Other projects' vectors act as those projects apply them: bit for bit by a hand-written rule, from the file on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from benchmarks.recording import record_hspace
from hspace_exp import steer
from hspace_exp.commands import start
from hspace_exp.concepts.concept import load_concept
from hspace_exp.concepts.formats import import_concepts
from hspace_exp.errors import UserError
from hspace_exp.generation.request import read, scale_of, strengths
from hspace_exp.models.hspace import edit_hspace

H = (16, 4, 4)
MATRIX = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(100, 16, generator=torch.Generator().manual_seed(1))
GIVEN = {"prompt": ["a photo of a doctor", "a photo of a nurse"], "num_inference_steps": 4, "output_type": "latent"}


@pytest.fixture(scope="module")
def pipe(tiny_folder: Path) -> Any:
    pipe = diffusers.DiffusionPipeline.from_pretrained(tiny_folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def taken(folder: Path, state: Any, name: str = "theirs.pt") -> Path:
    """The folder of concepts that the command makes of another project's file."""
    torch.save(state, folder / name)
    assert (
        start(
            ["concepts", "import", str(folder / name), str(folder / "in"), "--h-shape", *map(str, H), "--model", "tiny"]
        )
        == 0
    )
    return folder / "in"


def latents_of(pipe: Any) -> Tensor:
    return pipe(**GIVEN, generator=torch.Generator().manual_seed(3)).images


def by_rule(pipe: Any, rule: Callable[[Tensor], Tensor]) -> Tensor:
    with edit_hspace(pipe.unet, rule):
        return latents_of(pipe)


def test_sdids_vectors_are_added_once_to_the_conditional_half(pipe: Any, tmp_path: Path) -> None:
    file = taken(tmp_path, {"controlnet.fc1.weight": MATRIX}) / "old.safetensors"
    vector = MATRIX[:, 3].reshape(H)
    expected = by_rule(pipe, lambda h: torch.cat([h[:2], h[2:] + vector]))
    with steer(pipe, {file: None}):
        assert torch.equal(latents_of(pipe), expected)
    with steer(pipe, {file: 1.0}):
        assert torch.equal(latents_of(pipe), expected)


def test_the_released_rows_are_added_twice_to_both_halves_with_ll_of_the_unedited_run(
    pipe: Any, tmp_path: Path
) -> None:
    file = taken(tmp_path, {"concept_emb": ROWS}) / "male.safetensors"
    vector = ROWS[1].reshape(16, 1, 1)
    plainly = by_rule(pipe, lambda h: h + 2.0 * vector)
    with steer(pipe, {file: None}, method="plain"):
        assert torch.equal(latents_of(pipe), plainly)
    with record_hspace(pipe.unet) as unedited:
        latents_of(pipe)
    left = iter(unedited)

    def with_low(h: Tensor) -> Tensor:
        low = torch.nn.functional.avg_pool2d(next(left), 2)
        return h + 2.0 * vector + 1.0 * low.repeat_interleave(2, -2).repeat_interleave(2, -1)

    expected = by_rule(pipe, with_low)
    with steer(pipe, {file: None}):
        assert torch.equal(latents_of(pipe), expected)


@pytest.mark.parametrize(("state", "branch", "strength"), [("fc1", "conditional", 1.0), ("emb", "both", 2.0)])
def test_generate_takes_the_same_branch_and_strength(tmp_path: Path, state: str, branch: str, strength: float) -> None:
    of = {"fc1": {"controlnet.fc1.weight": MATRIX}, "emb": {"concept_emb": ROWS}}[state]
    folder = taken(tmp_path, of)
    asked, concepts = read(["a nurse"], [str(folder / "female.safetensors")], device="cpu")
    assert asked.method["branch"] == branch
    assert asked.method["name"] == ("sdid" if state == "fc1" else "score_matching")
    assert strengths(concepts, ["female"], asked.strength, "auto") == {"female": strength}
    assert scale_of(list(concepts.values()), 7.5) == 1.0
    assert "Setting, strength" in (folder / "female.md").read_text()


def test_a_files_own_branch_holds_in_generate_unless_another_is_said(tmp_path: Path) -> None:
    folder = taken(tmp_path, {"controlnet.fc1.weight": MATRIX})
    file = folder / "female.safetensors"
    female = load_concept(file)
    both = {**female.hyperparameters, "branch": "both"}
    object.__setattr__(female, "hyperparameters", both)
    female.save(file)
    given = ["a nurse"], [str(file)]
    assert read(*given, device="cpu")[0].method["branch"] == "both"
    assert read(*given, device="cpu", more=["method.branch=conditional"])[0].method["branch"] == "conditional"
    assert read(*given, device="cpu", method="sdid")[0].method["branch"] == "conditional"
    assert read(*given, device="cpu", more=["method=sdid"])[0].method["branch"] == "conditional"
    object.__setattr__(female, "hyperparameters", {"branch": "${oc.env:HOME}"})  # no name that is known
    female.save(file)
    with pytest.raises(UserError, match=r"female\.safetensors is .*hyperparameters\.branch: Input should be 'both' or"):
        read(*given, device="cpu")


@pytest.mark.parametrize("shape", [(256,), (1, 256), (256, 1), (16, 4, 4), (1, 16, 4, 4)])
def test_a_bare_vector_of_any_shape_is_named_after_its_file(pipe: Any, tmp_path: Path, shape: tuple[int, ...]) -> None:
    file = taken(tmp_path, torch.nn.Parameter(MATRIX[:, 0].reshape(shape)), "smile.pt") / "smile.safetensors"
    found = load_concept(file)
    assert torch.equal(found.vector, MATRIX[:, 0].reshape(H))
    assert (found.name, found.method, found.licence, found.model) == ("smile", "sdid", "unknown", "tiny")
    expected = by_rule(pipe, lambda h: torch.cat([h[:2], h[2:] + found.vector]))
    with steer(pipe, {file: None}):
        assert torch.equal(latents_of(pipe), expected)


def test_bare_matrices_have_columns_or_rows(tmp_path: Path) -> None:
    for name, matrix in (("columns", MATRIX), ("rows", MATRIX.t().contiguous())):
        torch.save(matrix, tmp_path / f"{name}.pt")
        found = import_concepts(tmp_path / f"{name}.pt", h_shape=H)
        assert list(found)[:3] == ["female", "male", "young"]
        assert torch.equal(found["young"].vector, MATRIX[:, 2].reshape(H))
