"""The concept file: nothing lost, nothing foreign let in."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors import safe_open
from safetensors.torch import save_file

from hspace_exp.avatars import CONCEPTS
from hspace_exp.concepts.concept import BASES, Concept, load_concept, load_concepts
from hspace_exp.config.command_line import CONF
from hspace_exp.errors import UserError
from hspace_exp.models.backbone import Backbone


def make(vector: torch.Tensor | None = None, **changes: object) -> Concept:
    values: dict[str, object] = {
        "name": "female",
        "attribute": "gender",
        "model": "tiny",
        "revision": "abc",
        "h_shape": (16, 4, 4),
        "method": "sdid",
        "prompts": {"positive": "a photo of a woman", "neutral": "a photo of a person"},
        "hyperparameters": {"lr": 0.1, "steps": [1, 2]},
        "seed": 7,
        "metrics": {"loss": 0.5},
        "licence": "MIT",
    }
    return Concept(torch.randn(16, 4, 4) if vector is None else vector, **(values | changes))


@pytest.mark.parametrize("shape", [(16, 1, 1), (16, 4, 4)])
def test_round_trip(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    concept = make(torch.randn(shape))
    read = load_concept(concept.save(tmp_path / "concepts" / "female.safetensors"))
    assert torch.equal(read.vector, concept.vector)
    own = ("vector", "folder")
    assert {k: v for k, v in vars(read).items() if k not in own} == {
        k: v for k, v in vars(concept).items() if k not in own
    }
    assert (concept.folder, read.folder) == (None, tmp_path / "concepts")
    assert read.kind == ("channel" if shape[1:] == (1, 1) else "spatial")
    assert sorted(p.name for p in (tmp_path / "concepts").iterdir()) == ["female.md", "female.safetensors"]


def test_file_is_plain_safetensors_with_text_metadata(tmp_path: Path) -> None:
    path = make(torch.randn(16, 1, 1, dtype=torch.float64, requires_grad=True)).save(tmp_path / "x.safetensors")
    with safe_open(path, framework="pt") as file:
        assert list(file.keys()) == ["vector"]
        assert file.get_tensor("vector").dtype == torch.float32
        metadata = file.metadata()
    assert metadata["site"] == "mid_block"
    assert metadata["h_shape"] == "[16, 4, 4]"
    assert (metadata["format"], metadata["format_version"]) == ("hspace_exp.concept", "1")


def test_user_interfaces_find_what_they_show(tmp_path: Path) -> None:
    path = make(model="sdxl", hyperparameters={"strength": 2.5, "branch": "both"}).save(tmp_path / "x.safetensors")
    with safe_open(path, framework="pt") as file:
        shown = {key: text for key, text in file.metadata().items() if key.startswith("modelspec.")}
    assert shown == {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/h-space",
        "modelspec.implementation": "hspace_exp",
        "modelspec.title": "female",
        "modelspec.description": "Shifts gender to female: a spatial vector for h-space, sdid.",
        "modelspec.license": "MIT",
        "modelspec.usage_hint": "strength 2.5, branch both",
    }
    assert make(model="CompVis/stable-diffusion-v1-4").base[1] == "stable-diffusion-v1"
    assert make(model="my/own").base == ("my/own", "my/own")


def test_bases_are_those_of_the_configuration() -> None:
    for name, (base, _) in BASES.items():
        assert OmegaConf.load(CONF / "model" / f"{name}.yaml").source == base


def test_equal_concepts_are_equal_bytes_in_any_process(tmp_path: Path) -> None:
    code = (
        "import sys, torch; from hspace_exp import Concept; "
        "some = torch.ones(2, 1, 1), 'é', 'a', 'm', 'r', (2, 1, 1), 'sdid'; "
        "Concept(*some, presence=torch.zeros(2, 1, 1)).save(sys.argv[1])"
    )
    for name in ("a", "b"):
        subprocess.run([sys.executable, "-c", code, tmp_path / f"{name}.safetensors"], check=True)
    found = (tmp_path / "a.safetensors").read_bytes()
    assert found == (tmp_path / "b.safetensors").read_bytes()
    assert int.from_bytes(found[:8], "little") % 8 == 0
    assert load_concept(tmp_path / "a.safetensors").name == "é"


def test_files_without_what_was_added_since_are_read(tmp_path: Path) -> None:
    old = {key: text for key, text in make().metadata().items() if not key.startswith("modelspec.")}
    save_file({"vector": torch.zeros(16, 1, 1)}, tmp_path / "x.safetensors", old)
    assert load_concept(tmp_path / "x.safetensors").seed == 7
    for path in CONCEPTS.glob("*.safetensors"):
        assert load_concept(path).card() == path.with_suffix(".md").read_text("utf-8")


def test_card_tells_the_essentials() -> None:
    card = make().card()
    for text in ("female", "gender", "tiny (revision abc)", "a photo of a woman", "sdid", "MIT", "(16, 4, 4)"):
        assert text in card


def test_other_models_shape_is_refused_with_both(tiny_backbone: Backbone) -> None:
    make(torch.randn(16, 1, 1), h_shape=(16, 8, 8)).check(tiny_backbone)
    with pytest.raises(UserError, match=r"\(16, 8, 8\).*has h \(16, 4, 4\)"):
        make(torch.randn(16, 8, 8), h_shape=(16, 8, 8)).check(tiny_backbone)
    with pytest.raises(UserError, match=r"\(8, 1, 1\) for 'tiny' with h \(8, 4, 4\)"):
        make(torch.randn(8, 1, 1), h_shape=(8, 4, 4)).check(tiny_backbone)


def test_other_weights_of_the_same_shape_are_warned_of(
    tiny_backbone: Backbone, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        make(model=tiny_backbone.name, revision=tiny_backbone.revision).check(tiny_backbone)
        assert not caplog.records
        make().check(tiny_backbone)
    assert "was made for tiny (abc)" in caplog.text


def test_inconsistent_concepts_cannot_be_made() -> None:
    with pytest.raises(UserError, match=r"shape \(16, 2, 2\), but h is \(16, 4, 4\)"):
        make(torch.randn(16, 2, 2))
    with pytest.raises(UserError, match="NaN or infinite"):
        make(torch.full((16, 1, 1), float("nan")))
    with pytest.raises(UserError, match="finite plain values"):
        make(metrics={"loss": float("inf")}).metadata()
    with pytest.raises(UserError, match="finite plain values"):
        make(hyperparameters={"x": object()}).metadata()


def test_bad_files_are_named_with_the_reason(tmp_path: Path) -> None:
    path = make().save(tmp_path / "female.safetensors")
    with pytest.raises(UserError, match=r"no concept file .*; found there: female\.safetensors"):
        load_concept(tmp_path / "femal.safetensors")
    whole = path.read_bytes()
    for size in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match="no whole concept file") as caught:
            load_concept(path)
        assert "\n" not in str(caught.value)
    save_file({"lora.weight": torch.zeros(3)}, path)
    with pytest.raises(UserError, match="no tensor 'vector' with format"):
        load_concept(path)
    metadata = make().metadata()
    save_file({"vector": torch.zeros(16, 1, 1)}, path, metadata | {"format_version": "9"})
    with pytest.raises(UserError, match="concept format 9, expected 1"):
        load_concept(path)
    del metadata["seed"]
    save_file({"vector": torch.zeros(16, 1, 1)}, path, metadata)
    with pytest.raises(UserError, match=r"KeyError.*seed"):
        load_concept(path)
    save_file({"vector": torch.zeros(16, 3, 3)}, path, make().metadata())
    with pytest.raises(UserError, match=r"female\.safetensors is .*concept 'female' has shape"):
        load_concept(path)


def test_files_and_folders_are_read_by_name(tmp_path: Path) -> None:
    for name in ("male", "female", "old"):
        make(name=name).save(tmp_path / "concepts" / f"{name}.safetensors")
    old = (tmp_path / "concepts" / "old.safetensors").rename(tmp_path / "old.safetensors")
    assert list(load_concepts([old, tmp_path / "concepts"])) == ["old", "female", "male"]
    for places, message in (
        ([], "name concept files"),
        ([old, old], "two of"),
        ([tmp_path / "none"], "no concept file"),
    ):
        with pytest.raises(UserError, match=message):
            load_concepts(places)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no concept files"):
        load_concepts([tmp_path / "empty"])
