"""What is fetched of a hub's pipeline, and what is said when it cannot be."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.models import hub
from hspace_exp.models.backbone import load_backbone
from hspace_exp.models.loading import count_parameters

FILES = [
    "model_index.json",
    "README.md",
    "v1-5-pruned.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/config.json",
    "text_encoder/model.fp16-00001-of-00002.safetensors",
    "text_encoder/model.safetensors.index.fp16.json",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "scheduler/scheduler_config.json",
    "safety_checker/model.safetensors",
]


def test_one_set_of_weights_is_fetched_and_nothing_else() -> None:
    plain = hub.wanted(FILES, None)
    assert [f for f in plain if f.startswith("unet/")] == [
        "unet/config.json", "unet/diffusion_pytorch_model.safetensors"
    ]  # fmt: skip
    assert "text_encoder/model.fp16-00001-of-00002.safetensors" in plain  # the only ones there
    assert not {"README.md", "v1-5-pruned.safetensors", "safety_checker/model.safetensors"} & set(plain)
    half = hub.wanted(FILES, "fp16")
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in half
    assert "unet/diffusion_pytorch_model.safetensors" not in half
    assert {"vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors.index.fp16.json"} <= set(half)


def test_a_folder_of_another_variant_loads_all_the_same(tiny_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "half")
    for file in [*folder.rglob("*.safetensors")]:
        file.rename(file.with_suffix(".fp16.safetensors"))
    plain, half = load_backbone(tiny_folder, device="cpu"), load_backbone(folder, device="cpu")
    assert torch.equal(plain.unet.conv_in.weight, half.unet.conv_in.weight)
    assert load_backbone(tiny_folder, variant="fp16", device="cpu").revision == plain.revision


def test_path_stands_in_for_the_hub(tiny_folder: Path, tmp_path: Path) -> None:
    there = load_backbone("CompVis/stable-diffusion-v1-4", path=tiny_folder, revision="0" * 40, device="cpu")
    assert there.revision == load_backbone(tiny_folder, device="cpu").revision
    with pytest.raises(UserError, match="does not exist"):
        load_backbone("CompVis/stable-diffusion-v1-4", path=tmp_path / "nothing", device="cpu")


def test_parameters_are_counted_without_weights(tiny_folder: Path) -> None:
    unet = load_backbone(tiny_folder, device="cpu").unet
    assert count_parameters(tiny_folder) == sum(p.numel() for p in unet.parameters())


def test_half_a_download_is_no_pipeline(tiny_sdxl_folder: Path, tmp_path: Path) -> None:
    assert hub.is_whole(tiny_sdxl_folder)
    assert not hub.is_whole(tmp_path)
    for lost in ("text_encoder_2/model.safetensors", "scheduler"):
        part = shutil.copytree(tiny_sdxl_folder, tmp_path / lost.replace("/", "-"))
        shutil.rmtree(part / lost) if (part / lost).is_dir() else (part / lost).unlink()
        assert not hub.is_whole(part)


def test_a_hub_that_does_not_answer_costs_seconds_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(UserError, match=r"hf download nobody/nothing --revision abc .*model\.path=") as caught:
        load_backbone("nobody/nothing", revision="abc", device="cpu")
    assert time.monotonic() - started < 10
    assert "\n" not in str(caught.value)
