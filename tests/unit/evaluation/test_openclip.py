"""Image features on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from hspace_exp.evaluation.openclip import CachedClip, image_hash, weights_hash


class CountingClip:
    """Embeds by mean colour, and counts images."""

    seen = 0

    def encode_images(self, images: Tensor) -> Tensor:
        """(B, 3)."""
        self.seen += len(images)
        return torch.nn.functional.normalize(images.mean((2, 3)), dim=-1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """(T, 3)."""
        return torch.ones(len(texts), 3)


IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_an_image_is_embedded_once_whatever_the_batches(tmp_path: Path) -> None:
    first = CountingClip()
    cached = CachedClip(first, tmp_path)
    expected = CountingClip().encode_images(IMAGES)
    assert torch.equal(cached.encode_images(IMAGES[:4]), expected[:4])
    assert torch.equal(cached.encode_images(IMAGES[[5, 2, 5, 4]]), expected[[5, 2, 5, 4]])
    assert first.seen == 6
    cached.save()
    second = CountingClip()
    assert torch.equal(CachedClip(second, tmp_path).encode_images(IMAGES), expected)
    assert second.seen == 0


def test_nothing_new_writes_nothing_and_texts_pass_through(tmp_path: Path) -> None:
    cached = CachedClip(CountingClip(), tmp_path / "features")
    assert cached.encode_texts(["a", "b"]).shape == (2, 3)
    cached.save()
    assert not (tmp_path / "features").exists()


def test_a_damaged_file_is_computed_again(tmp_path: Path) -> None:
    cached = CachedClip(CountingClip(), tmp_path)
    cached.encode_images(IMAGES)
    cached.save()
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    again = CountingClip()
    assert torch.equal(CachedClip(again, tmp_path).encode_images(IMAGES), cached.encode_images(IMAGES))
    assert again.seen == 6


def test_hashes_tell_images_and_weights_apart() -> None:
    assert image_hash(IMAGES[0]) == image_hash(IMAGES[0].clone()) != image_hash(IMAGES[1])
    assert image_hash(torch.zeros(3, 2, 8)) != image_hash(torch.zeros(3, 4, 4))
    a, b = torch.nn.Linear(300, 2), torch.nn.Linear(300, 2)
    b.load_state_dict(a.state_dict())
    assert weights_hash(a) == weights_hash(b)
    with torch.no_grad():
        b.bias[1] += 1
    assert weights_hash(a) != weights_hash(b)
