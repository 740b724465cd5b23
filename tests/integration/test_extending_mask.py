"""A mask provider of one's own, as the README's recipe adds it: a module, a YAML, and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

PROVIDER = '''
import torch


class UpperPart:
    """The upper part of every image, where it is warm."""

    heat = "difference"

    def __init__(self, share: float = 0.5) -> None:
        self.share = share

    def maps(self, images, heatmaps=None):
        assert images.dtype == torch.uint8 and heatmaps.shape[:2] == (len(images), 1)
        maps = torch.zeros(len(images), 1, *images.shape[1:3], device=images.device)
        maps[:, :, : round(self.share * images.shape[1])] = 1
        return maps
'''
YAML = "_target_: my_masks.UpperPart\nshare: 0.25\n"


def test_own_mask(
    cli: Callable[..., Any], arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine" / "mask").mkdir(parents=True)
    (tmp_path / "mine" / "mask" / "upper.yaml").write_text(YAML)
    (tmp_path / "my_masks.py").write_text(PROVIDER)
    monkeypatch.syspath_prepend(str(tmp_path))
    run_dir = tmp_path / "run"
    outcome = cli(
        "--config-dir",
        str(tmp_path / "mine"),
        *arguments,
        "trust=[my_masks]",
        "method=lwim",
        "mask=upper",
        f"hydra.run.dir={run_dir}",
    )
    assert outcome.code == 0, outcome.error
    record = json.loads((run_dir / "record.json").read_text())
    assert len(record["config"]["mask"].pop("_source_")) == 16  # of my_masks.py: an edited class makes new maps
    assert record["config"]["mask"] == {"_target_": "my_masks.UpperPart", "share": 0.25}
    assert 0 < record["metrics"]["mask_iou"]["value"] < 1
    found = [load_file(file)["maps"] for file in (tmp_path / "cache").glob("*/maps.safetensors")]
    assert len(found) == 2
    for maps in found:
        assert maps.unique().tolist() == [0, 255]
        assert (maps > 0).float().mean() == pytest.approx(0.25)
    assert (run_dir / "masks.png").is_file()
