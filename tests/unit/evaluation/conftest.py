"""Weights that no test can fetch, random in the published layout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


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
