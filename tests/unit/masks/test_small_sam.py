"""The small SAM: files round-trip, bad files are refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from avatars_world.small_sam import SMALL_SAM
from hspace_exp.errors import UserError
from hspace_exp.masks.small_sam import build_small_sam, load_small_sam


def test_saved_weights_load_frozen_and_equal(tmp_path: Path) -> None:
    sam = build_small_sam(SMALL_SAM)
    (tmp_path / "config.json").write_text(json.dumps(SMALL_SAM))
    save_file({k: v.contiguous() for k, v in sam.state_dict().items()}, tmp_path / "model.safetensors")
    loaded = load_small_sam(tmp_path)
    assert not loaded.training
    assert all(not p.requires_grad for p in loaded.parameters())
    assert all(torch.equal(loaded.state_dict()[k], v) for k, v in sam.state_dict().items())


def test_missing_and_foreign_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lacks config\.json"):
        load_small_sam(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(SMALL_SAM))
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="does not hold a small SAM"):
        load_small_sam(tmp_path)
