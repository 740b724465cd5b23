"""Image files: read and written by several threads, and trusted by a resumed run only where they are whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from hspace_exp.errors import UserError, getting
from hspace_exp.io.atomic import label, save_png
from hspace_exp.io.checksums import clear
from hspace_exp.io.locks import cores

log = logging.getLogger(__name__)

# Threads: compression takes 50 ms of an image of 512 px, and lets other threads run.
WRITERS, READERS = 8, 4
# Thousands of images are written beside the sampling: a seventh more bytes, a quarter of the time.
FAST = 1
_LAST_CHUNK = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_DAMAGED = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def is_whole(path: Path, made_by: str = "") -> bool:
    """Whether ``path`` is a complete PNG (every chunk's checksum is read), and says that it is ``made_by`` a digest."""
    try:
        with Image.open(path) as image:
            own = not made_by or image.info.get("hspace_exp") == label(path, made_by)
            image.verify()
        return own and path.read_bytes().endswith(_LAST_CHUNK)
    except _DAMAGED:
        return False


def missing(paths: Iterable[Path], made_by: str = "") -> list[Path]:
    """Those paths that hold no whole image, see ``is_whole``; damaged files and others' are named in the log."""
    absent = [path for path in paths if not is_whole(path, made_by)]
    for path in absent:
        if path.exists():
            log.warning("%s is damaged or another's: it is made again", path)
            clear(path)
    return absent


def to_uint8(images: Tensor) -> np.ndarray:
    """(B, 3, H, W) in [0, 1] to uint8 (B, H, W, 3), rounded."""
    return (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def writers() -> ThreadPoolExecutor:
    """Threads for many image files."""
    return ThreadPoolExecutor(min(WRITERS, cores()))


@contextmanager
def saver(made_by: str = "") -> Iterator[Callable[[Sequence[Path], Tensor], None]]:
    """Writes (B, 3, H, W) images in [0, 1], one a path, in the background; one call waits for the last one's.

    At the end all images are there; what went wrong is raised by the next call, or there.
    """
    with writers() as threads:
        last: Iterable[None] = ()

        def save(paths: Sequence[Path], images: Tensor) -> None:
            nonlocal last
            list(last)  # waits for them, and raises what went wrong
            pairs = list(zip(paths, to_uint8(images), strict=True))
            last = threads.map(lambda pair: save_png(pair[0], pair[1], FAST, made_by), pairs)

        yield save
        list(last)


def save_all(paths: Sequence[Path], images: Tensor, made_by: str = "") -> None:
    """Write (B, 3, H, W) images in [0, 1], one a path, each whole or not at all, see ``saver``."""
    with saver(made_by) as save:
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
    """Read an image as it is seen; (H, W, 3) uint8. Raises UserError: the file is missing or no whole image.

    It is turned upright, 16-bit grey is scaled, and what is transparent lies on white.
    """
    advice = "delete it, if it is there, and run the command again"
    with getting(f"the image {path}", advice, Exception), Image.open(path) as image:  # decoders raise anything
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode.startswith("I"):
            return np.repeat((np.asarray(image) / 257).round().clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)
        if not image.has_transparency_data:
            return np.array(image.convert("RGB"))
        white = Image.new("RGBA", image.size, "white")
        return np.array(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))


def resized(images: Tensor, side: int) -> Tensor:
    """(B, 3, H, W) in [0, 1] as squares of ``side`` pixels, by bicubic interpolation with antialiasing."""
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, (side, side), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def as_float(images: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W) float32 in [0, 1]."""
    return images.permute(0, 3, 1, 2).to(torch.float32) / 255
