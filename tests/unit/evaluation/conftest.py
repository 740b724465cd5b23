"""Random images, and weights that no test can fetch, random in the published layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from hspace_exp.config.command_line import CONF
from hspace_exp.config.schema import register
from hspace_exp.evaluation.judged import JudgedBatch, item_keys
from hspace_exp.evaluation.metrics.base import ImageMetric
from hspace_exp.generation.manifest import Pair
from hspace_exp.io.atomic import save_png


@pytest.fixture(scope="session")
def standard_metrics() -> dict[str, ImageMetric]:
    """The metrics of conf/metric/standard.yaml."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return dict(instantiate(compose("config").evaluator.metrics, _convert_="all"))


@pytest.fixture
def make_batch() -> Callable[..., JudgedBatch]:
    """A batch of images about gender; what is not given is as simple as can be."""

    def make(count: int, **fields: Any) -> JudgedBatch:
        images = fields.pop("original", torch.zeros(count, 3, 2, 2))
        none, classes = torch.full((count,), -1), fields.pop("classes", None)
        seen = {} if classes is None else {"gender": classes}
        plain = {"keys": item_keys([f"image {i}" for i in range(count)]), "groups": torch.zeros_like(none)}
        plain |= {"targets": none, "original": images, "edited": images, "attribute": "gender", "parts": {}}
        return JudgedBatch(**{**plain, "others": (), "before": seen, "after": seen, **fields})

    return make


@pytest.fixture
def random_pairs(tmp_path: Path) -> Callable[[int, int, Sequence[str]], list[Pair]]:
    """(count, side in pixels, professions in turn) → pairs of noise; the first half asks for female, then male."""

    def make(count: int, side: int, professions: Sequence[str]) -> list[Pair]:
        rng, made = np.random.default_rng(0), []
        for i in range(count):
            files = [tmp_path / f"{kind}_{i}.png" for kind in ("original", "edited")]
            for file in files:
                save_png(file, rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
            profession, target = professions[i % len(professions)], ("female", "male")[i // (count // 2)]
            made.append(Pair(f"a photo of a {profession}", profession, i, target, 1.0, files[0], files[1]))
        return made

    return make


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the published layout with random weights, scaled so that images still differ behind 90 layers."""
    extractor = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")

    class Unloaded(extractor.FeatureExtractorInceptionV3):  # type: ignore[name-defined,misc]
        def load_state_dict(self, *_: object, **__: object) -> None:
            """Keep the random weights."""

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("inception") / "pt_inception.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extractor, "load_state_dict_from_url", lambda *_, **__: {})
        network = Unloaded("random", ["2048"])
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)  # as in the year of the published file
    return path
