"""What configurations need, found without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra import initialize_config_dir

from hspace_exp.config.command_line import CONF
from hspace_exp.config.schema import register
from hspace_exp.doctor import needs as requiring
from hspace_exp.doctor.needs import Need, require
from hspace_exp.doctor.overview import needs
from hspace_exp.errors import UserError


@pytest.fixture(autouse=True)
def _empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("SAM_CHECKPOINT", raising=False)
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def missing(*overrides: str) -> list[str]:
    return [need.what for need in needs(overrides) if need.place is None]


def test_the_embedded_world_needs_nothing() -> None:
    assert missing() == []
    assert missing("method=focused") == []


def test_photographs_need_a_model_a_judge_and_masks_only_where_they_are_used() -> None:
    clip = "OpenCLIP ViT-B-32 laion2b_s34b_b79k"
    assert missing("model=sd15", "method=lwim") == ["model sd15", clip, "Segment Anything vit_b"]
    assert missing("model=sd15", "method=sdid", "mask=sam_vit_b") == ["model sd15", clip]
    assert missing("model=sdxl", "method=original", "stages=[generation]") == ["model sdxl"]
    found = {need.what: need.how for need in needs(["model=sd14"])}
    assert "--revision 133a221b8aa7292a167afc5127cb63fb5005638b --local-dir models/sd14" in found["model sd14"]


def test_files_that_are_there_are_found(tmp_path: Path, tiny_family: Callable[[str], Path]) -> None:
    clip, sam = tmp_path / "clip.safetensors", tmp_path / "sam.pth"
    clip.touch()
    sam.touch()
    here = [f"model.path={tiny_family('sd14')}", f"evaluator.weights={clip}", f"mask.checkpoint={sam}"]
    assert missing("model=sd14", "method=lwim", *here) == []
    sam.unlink()
    assert missing("model=sd14", "method=lwim", *here) == ["Segment Anything vit_b"]


def test_a_folder_below_this_one_needs_no_dot(
    tmp_path: Path, tiny_family: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outputs" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for folder in ("outputs/model", "outputs/deeper/model"):
        Path(folder).symlink_to(tiny_family("sd14"))
        assert missing(f"model.source={folder}") == []
    assert missing("model.source=outputs/not/there") == ["model avatars"]


def test_more_networks_of_evaluators() -> None:
    assert "Inception features" in missing("evaluator=photos_inception")
    assert {"LPIPS (alexnet)", "person masks (deeplabv3_resnet50)"} <= set(missing("evaluator=photos_backgrounds"))


def test_the_embedded_world_shows_no_race() -> None:
    (need,) = [need for need in needs(["attribute=race"]) if need.place is None]
    assert "model=sd15" in need.how


def test_a_missing_file_within_reach_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    far, near = (Need(name, None, f"get {name}", f"http://{name}") for name in ("far", "near"))
    monkeypatch.setattr(requiring, "answers", lambda url: "near" in url)
    require([near])
    with pytest.raises(UserError, match=r"http://far does not answer\. far: get far\. Or use model=avatars") as caught:
        require([near, far])
    assert "near" not in str(caught.value)


def test_a_silent_hub_is_not_asked_again_where_all_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    here = Need("model", "/here", "", "http://127.0.0.1:9")
    require([here])
    from huggingface_hub import constants

    assert constants.HF_HUB_OFFLINE


def test_online_runs_need_a_key_and_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requiring, "has_key", lambda: False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    found = needs(["logger.mode=online", "model.device=cpu"])
    lacking = [need for need in found if need.place is None]
    with pytest.raises(UserError, match="a key of Weights & Biases and its server: `wandb login`"):
        require(lacking)
    assert all(need.place for need in needs(["logger.mode=auto", "model.device=cpu"]))


def test_a_mask_needs_its_own_checkpoint(tmp_path: Path) -> None:
    asked = ["method=lwim", f"mask.checkpoint={tmp_path}"]
    [lacking] = [need for need in needs(asked) if need.place is None]
    assert "mask.checkpoint names no folder" in lacking.how
    (tmp_path / "config.json").write_text("{}")
    assert all(need.place for need in needs(asked))
