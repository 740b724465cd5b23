"""Random images, and weights that no test can fetch, random in the published layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from hspace_exp.generation.manifest import Pair
from hspace_exp.io.atomic import save_png


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
