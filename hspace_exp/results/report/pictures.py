"""Images inside a page: small enough to send, never a link."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from hspace_exp.errors import UserError

SIDE = 256
WIDE = 1600
QUALITY = 88


def data_uri(path: Path, side: int = SIDE) -> tuple[str, int, int]:
    """A JPEG of the image as a ``data:`` address, with its width and height.

    Args:
        path: an image file.
        side: longest side in pixels; larger images are made smaller.

    Raises:
        UserError: it is no whole image.
    """
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} is no whole image: delete it and run the command again") from error
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, format="JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}", image.width, image.height
