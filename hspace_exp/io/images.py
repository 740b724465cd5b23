"""Image files: read and written by several threads, and trusted by a resumed run only where they are whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from hspace_exp.errors import UserError, getting
from hspace_exp.io.atomic import save_png
from hspace_exp.io.locks import cores

log = logging.getLogger(__name__)

# Threads: compression takes 50 ms of an image of 512 px, and lets other threads run.
WRITERS, READERS = 8, 4
# Thousands of images are written beside the sampling: a seventh more bytes, a quarter of the time.
FAST = 1
_LAST_CHUNK = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_DAMAGED = (UnidentifiedImageError, OSError, SyntaxError, ValueError)


def is_whole(path: Path) -> bool:
    """Whether ``path`` is a complete PNG (every chunk's checksum is read); False where there is no file."""
    try:
        with Image.open(path) as image:
            image.verify()
        return path.read_bytes().endswith(_LAST_CHUNK)
    except _DAMAGED:
        return False


def missing(paths: Iterable[Path]) -> list[Path]:
    """Those paths that hold no whole image; damaged files are named in the log."""
    absent = [path for path in paths if not is_whole(path)]
    for path in absent:
        if path.exists():
            log.warning("%s is damaged: it is made again", path)
    return absent


def to_uint8(images: Tensor) -> np.ndarray:
    """(B, 3, H, W) in [0, 1] to uint8 (B, H, W, 3), rounded."""
    return (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def writers() -> ThreadPoolExecutor:
    """Threads for many image files."""
    return ThreadPoolExecutor(min(WRITERS, cores()))


@contextmanager
def saver() -> Iterator[Callable[[Sequence[Path], Tensor], None]]:
    """Writes (B, 3, H, W) images in [0, 1], one a path, in the background; one call waits for the last one's.

    At the end all images are there; what went wrong is raised by the next call, or there.
    """
    with writers() as threads:
        last: list[Future[None]] = []

        def wait() -> None:
            while last:
                last.pop(0).result()

        def save(paths: Sequence[Path], images: Tensor) -> None:
            wait()
            pixels = to_uint8(images)
            last.extend(threads.submit(save_png, *one, FAST) for one in zip(paths, pixels, strict=True))

        yield save
        wait()


def save_all(paths: Sequence[Path], images: Tensor) -> None:
    """Write (B, 3, H, W) images in [0, 1], one a path, each whole or not at all."""
    with saver() as save:
        save(paths, images)


def load_images(paths: Sequence[Path]) -> Tensor:
    """Read images of one size, several at once where the process may use several threads; (B, H, W, 3) uint8.

    Raises UserError: a file is missing or no whole image, or sizes differ.
    """
    with ThreadPoolExecutor(min(READERS, torch.get_num_threads())) as pool:
        arrays = list(pool.map(read_image, paths))
    for path, array in zip(paths, arrays, strict=True):
        if array.shape != arrays[0].shape:
            height, width = array.shape[:2]
            raise UserError(f"{path} is {width} x {height} pixels, unlike {paths[0]}: evaluate images of one size")
    return torch.from_numpy(np.stack(arrays))


def read_image(path: Path) -> np.ndarray:
    """Read an image; (H, W, 3) uint8. Raises UserError: the file is missing or no whole image."""
    with (
        getting(f"the image {path}", "delete it, if it is there, and run the command again"),
        Image.open(path) as image,
    ):
        return np.array(image.convert("RGB"))


def resized(images: Tensor, side: int) -> Tensor:
    """(B, 3, H, W) in [0, 1] as squares of ``side`` pixels, by bicubic interpolation with antialiasing."""
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, (side, side), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def as_float(images: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W) float32 in [0, 1]."""
    return images.permute(0, 3, 1, 2).to(torch.float32) / 255
