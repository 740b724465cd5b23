"""The node for ComfyUI, against a stand-in that keeps to the interface of ComfyUI's ModelPatcher and UNetModel."""

from __future__ import annotations

import copy
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hspace_exp import Concept
from hspace_exp.methods.steering import Window
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit, edit_hspace

ROOT = Path(__file__).parents[3]
COND, UNCOND = 0, 1
BETAS = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
SIGMAS = np.sqrt(1 / np.cumprod(1 - BETAS) - 1)


class _Sampling:
    """Noise levels of Stable Diffusion, as ComfyUI's ``model_sampling`` tells them."""

    def sigma(self, timestep: float) -> float:
        return float(np.exp(np.interp(timestep, np.arange(1000), np.log(SIGMAS))))

    def percent_to_sigma(self, percent: float) -> float:
        if percent <= 0:
            return 999999999.9
        return 0.0 if percent >= 1 else self.sigma((1 - percent) * 999)


class _Patcher:
    """A model with its options; clones share the model, not the options."""

    def __init__(self, unet: Any) -> None:
        self.model = SimpleNamespace(diffusion_model=SimpleNamespace(middle_block=unet.mid_block, unet=unet))
        self.model_options: dict[str, Any] = {"transformer_options": {}}

    def clone(self) -> _Patcher:
        new = _Patcher(self.model.diffusion_model.unet)
        new.model_options = copy.deepcopy(self.model_options)
        return new

    def get_model_object(self, name: str) -> Any:
        return {"model_sampling": _Sampling()}[name]

    def set_model_patch(self, patch: Callable[..., Any], name: str) -> None:
        patches = self.model_options["transformer_options"].setdefault("patches", {})
        patches[name] = [*patches.get(name, []), patch]

    def set_model_middle_block_after_patch(self, patch: Callable[..., Any]) -> None:
        self.set_model_patch(patch, "middle_block_after_patch")

    def predict(self, x: Tensor, texts: dict[int, Tensor], chunks: list[int], sigma: float, t: int) -> Tensor:
        """The U-Net on one chunk of the batch x for each of ``chunks``, marked as ComfyUI marks them."""
        options = self.model_options["transformer_options"] | {"cond_or_uncond": chunks}
        options["sigmas"] = torch.full((len(x),), sigma)
        rows, context = torch.cat([x] * len(chunks)), torch.cat([texts[kind] for kind in chunks])

        def patched(h: Tensor) -> Tensor:
            for patch in options.get("patches", {}).get("middle_block_after_patch", []):
                h = patch(
                    {"h": h, "x": rows, "emb": None, "context": context, "y": None}
                    | {"timesteps": torch.full((len(rows),), t), "transformer_options": options}
                )["h"]
            return h

        unet = self.model.diffusion_model.unet
        with edit_hspace(unet, patched), torch.no_grad():
            return unet(rows, t, context).sample


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The node's file, as ComfyUI imports it."""
    stub: Any = ModuleType("folder_paths")
    stub.models_dir, stub.folder_names_and_paths = str(tmp_path), {}

    def listed(name: str) -> list[str]:
        (folder,), kinds = stub.folder_names_and_paths[name]
        return sorted(path.name for path in Path(folder).iterdir() if path.suffix in kinds)

    def found(name: str, file: str) -> str:
        return str(Path(stub.folder_names_and_paths[name][0][0]) / file)

    stub.get_filename_list, stub.get_full_path_or_raise = listed, found
    monkeypatch.setitem(sys.modules, "folder_paths", stub)
    spec = importlib.util.spec_from_file_location("hspace_concept", ROOT / "integrations/comfyui/hspace_concept.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def made(node: ModuleType, tmp_path: Path) -> dict[str, Concept]:
    """Concept files in ComfyUI's folder."""
    draw = torch.Generator().manual_seed(0)
    vectors = {"channel": torch.randn(16, 1, 1, generator=draw), "spatial": torch.randn(16, 4, 4, generator=draw)}
    given = {"model": "tiny", "revision": "abc", "h_shape": (16, 4, 4), "method": "sdid"}
    concepts = {
        name: Concept(vector, name, "gender", hyperparameters={"branch": "conditional"}, **given)
        for name, vector in vectors.items()
    }
    for name, concept in concepts.items():
        concept.save(tmp_path / node.FOLDER / f"{name}.safetensors")
    return concepts


def inputs(backbone: Backbone) -> tuple[Tensor, dict[int, Tensor]]:
    draw = torch.Generator().manual_seed(1)
    width = backbone.unet.config.cross_attention_dim
    texts = {kind: torch.randn(2, 16, width, generator=draw) for kind in (COND, UNCOND)}
    return torch.randn(2, *backbone.latent_shape, generator=draw), texts


def apply(node: ModuleType, patcher: _Patcher, name: str, *settings: Any) -> _Patcher:
    (patched,) = node.HSpaceConcept().apply(patcher, f"{name}.safetensors", *settings)
    return patched


@pytest.mark.parametrize("chunks", [[COND, UNCOND], [UNCOND, COND], [COND]])
@pytest.mark.parametrize("name", ["channel", "spatial"])
@pytest.mark.parametrize("branch", ["both", "conditional", "as the file says"])
def test_it_edits_h_as_the_package_does(
    node: ModuleType, made: dict[str, Concept], tiny_backbone: Backbone, chunks: list[int], name: str, branch: str
) -> None:
    x, texts = inputs(tiny_backbone)
    patcher = _Patcher(tiny_backbone.unet)
    patched = apply(node, patcher, name, 1.5, branch, 0.0, 1.0)
    halves = patched.predict(x, texts, chunks, 5.0, 500).chunk(len(chunks))
    own = "both" if branch == "both" else "conditional"
    edit = HEdit(vector=made[name].vector, strength=1.5, guided=True, branch=own)
    with edit_hspace(tiny_backbone.unet, edit), torch.no_grad():
        both = torch.cat([texts[UNCOND], texts[COND]])
        uncond, cond = tiny_backbone.unet(torch.cat([x, x]), 500, both).sample.chunk(2)
    for kind, found in zip(chunks, halves, strict=True):
        torch.testing.assert_close(found, cond if kind == COND else uncond, rtol=1e-5, atol=1e-5)
    assert patcher.model_options == {"transformer_options": {}}  # the node before it is left alone


def test_nodes_in_a_row_add_up(node: ModuleType, made: dict[str, Concept], tiny_backbone: Backbone) -> None:
    x, texts = inputs(tiny_backbone)
    one = apply(node, _Patcher(tiny_backbone.unet), "channel", 1.0, "both", 0.0, 1.0)
    two = apply(node, one, "spatial", -2.0, "both", 0.0, 1.0)
    total = made["channel"].vector - 2 * made["spatial"].vector
    with edit_hspace(tiny_backbone.unet, lambda h: h + total), torch.no_grad():
        expected = tiny_backbone.unet(x, 500, texts[COND]).sample
    torch.testing.assert_close(two.predict(x, texts, [COND], 5.0, 500), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [(0.0, 1.0), (0.0, 0.5), (0.2, 0.6), (0.9, 1.0)])
@pytest.mark.parametrize("steps", [10, 20])
def test_the_window_is_that_of_the_package(
    node: ModuleType,
    made: dict[str, Concept],
    tiny_backbone: Backbone,
    window: tuple[float, float],
    steps: int,
) -> None:
    x, texts = inputs(tiny_backbone)
    patcher = _Patcher(tiny_backbone.unet)
    patched = apply(node, patcher, "channel", 1.0, "both", *window)
    acted = []
    for i in range(steps):  # ComfyUI's schedule "simple"
        t = 999 - int(i * 1000 / steps)
        plain, edited = (one.predict(x, texts, [COND], float(SIGMAS[t]), t) for one in (patcher, patched))
        acted.append(not torch.equal(plain, edited))
    assert acted == [i / steps in Window(*window) for i in range(steps)]


def test_half_precision_stays(node: ModuleType) -> None:
    h = torch.randn(4, 3, 2, 2).half()
    found = node.added(h, torch.ones(3, 1, 1), [0.0, 0.25])
    assert found.dtype == torch.float16
    assert torch.equal(found[:2], h[:2])
    assert torch.equal(found[2:], (h[2:].float() + 0.25).half())


def test_what_does_not_fit_is_said(
    node: ModuleType, made: dict[str, Concept], tiny_backbone: Backbone, tmp_path: Path
) -> None:
    settings = (1.0, "both", 0.0, 1.0)
    with pytest.raises(ValueError, match=r"\(16, 4, 4\), h is \(16, 8, 8\)"):
        node.added(torch.zeros(1, 16, 8, 8), made["spatial"].vector, [1.0])
    torch.save({}, tmp_path / node.FOLDER / "other.pt")
    (tmp_path / node.FOLDER / "lora.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    assert node.HSpaceConcept.INPUT_TYPES()["required"]["concept"] == (
        ["channel.safetensors", "lora.safetensors", "spatial.safetensors"],
    )
    with pytest.raises(ValueError, match="no concept file"):
        apply(node, _Patcher(tiny_backbone.unet), "lora", *settings)
    about = {"format": "hspace_exp.concept", "hyperparameters": "{}"}
    wrong = (
        {"vector": torch.full((16, 1, 1), float("nan"))},
        {"vector": torch.ones(16)},
        {"vector": torch.ones(16, 1, 1)},
    )
    for tensors, settings_text in zip(wrong, ("{}", "{}", "[]"), strict=True):
        save_file(tensors, tmp_path / node.FOLDER / "lora.safetensors", about | {"hyperparameters": settings_text})
        with pytest.raises(ValueError, match="is damaged"):
            apply(node, _Patcher(tiny_backbone.unet), "lora", *settings)
    flux = _Patcher(tiny_backbone.unet)
    flux.model.diffusion_model = SimpleNamespace()
    with pytest.raises(ValueError, match="no U-Net"):
        apply(node, flux, "channel", *settings)
    with pytest.raises(ValueError, match="holds no step"):
        apply(node, _Patcher(tiny_backbone.unet), "channel", 1.0, "both", 0.5, 0.5)


def test_it_needs_nothing_but_comfyui() -> None:
    text = (ROOT / "integrations/comfyui/hspace_concept.py").read_text("utf-8")
    assert "import hspace_exp" not in text
    assert "from hspace_exp" not in text
    assert len(text.splitlines()) <= 120
