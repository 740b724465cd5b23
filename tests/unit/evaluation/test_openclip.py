"""What the image-text model says of its texts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hspace_exp.evaluation.features import OpenClip


class Texts(torch.nn.Module):
    """Embeds tokens by themselves."""

    def __init__(self) -> None:
        """One parameter, which says where it is."""
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def encode_text(self, tokens: Tensor) -> Tensor:
        """(B, T) floats."""
        return tokens.float()


def tokenize(texts: list[str]) -> Tensor:
    """Eight tokens: a word each between a beginning and an end, cut as tokenizers cut."""
    rows = [[1, *(len(word) + 2 for word in text.split()), 2] for text in texts]
    return torch.tensor([[*row[:7], 2] if len(row) > 8 else row + [0] * (8 - len(row)) for row in rows])


def test_texts_longer_than_it_reads_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    clip = OpenClip(Texts(), tokenize, 8, (0.5,), (0.5,))
    clip.encode_texts(["a photo of a nurse"])
    assert not caplog.text
    long = clip.encode_texts(["a photo of a nurse in a forest", "a photo of a nurse in a red city"])
    assert torch.equal(*long)  # which is why it must be told
    clip.encode_texts(["another photo of a nurse in a town"])
    assert caplog.text.count("the judge reads 8 tokens") == 1
    assert "a photo of a nurse in a forest" in caplog.text
