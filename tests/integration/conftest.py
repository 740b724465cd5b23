"""A whole embedded world at tiny size, random weights in the real layout, and the real command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from hspace_exp.avatars.probe import AttributeProbe
from hspace_exp.evaluation.openclip import build_open_clip
from hspace_exp.masks.small_sam import build_small_sam

ROOT = Path(__file__).parents[2]
Command = Callable[..., subprocess.CompletedProcess[str]]

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


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, make_tiny_pipeline: Callable[..., Path]) -> Path:
    """A folder laid out as the embedded weights: pipeline, clip, sam and probe; images of 32 px."""
    folder = make_tiny_pipeline(tmp_path_factory.mktemp("world") / "tiny")
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
    save_file(build_open_clip(cfg).state_dict(), folder / "clip" / "model.safetensors")
    (folder / "sam" / "config.json").write_text(json.dumps(SAM))
    save_file(build_small_sam(SAM).state_dict(), folder / "sam" / "model.safetensors")
    save_file(AttributeProbe().state_dict(), folder / "probe.safetensors")
    return folder


@pytest.fixture
def arguments(world: Path, tmp_path: Path) -> list[str]:
    """Overrides for a run of seconds on the tiny world; results and cache lie in ``tmp_path``."""
    return [
        "+experiment=gender_fairness",
        "protocol=smoke",
        "protocol.professions=[nurse,carpenter]",
        "protocol.images_per_profession=2",
        "protocol.training_images=4",
        "protocol.training_steps=3",
        "protocol.num_inference_steps=2",
        "logger=none",
        "device=cpu",
        "chunk_size=2",
        f"model.source={world}",
        f"evaluator.weights={world}",
        "evaluator.labelled=0",
        "evaluator.repeats=20",
        f"paths.cache={tmp_path / 'cache'}",
    ]


@pytest.fixture
def command() -> Command:
    """Run ``python -m hspace_exp …`` in a process of its own."""

    def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        done = [sys.executable, "-m", "hspace_exp", *arguments]
        return subprocess.run(done, capture_output=True, text=True, timeout=200, cwd=cwd, env=environment, check=False)

    return run
