"""Files that are either whole or absent: written beside their place, then moved over it."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import uuid
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write ``data``; readers see the old file or the new one, never a part. Missing folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{_host()}-{os.getpid()}-{uuid.uuid4().hex[:12]}.part"
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException as error:
        if isinstance(error, OSError) and not path.is_dir():
            error.filename = str(path.parent)  # a full disk names nothing, a read-only one what nobody knows
        with suppress(OSError):
            temporary.unlink()
        raise


def remove_parts(folder: Path) -> None:
    """Remove what processes of this machine that were killed while they wrote left in and below a folder."""
    for part in folder.rglob(".*.part"):
        found = re.fullmatch(rf"\..*\.{_host()}-(\d+)-[0-9a-f]{{12}}\.part", part.name)
        if found and Path("/proc").exists() and not Path("/proc", found[1]).exists():
            part.unlink(missing_ok=True)


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 ``text``."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: object) -> None:
    """Write ``value`` as indented JSON with sorted keys; NaN and Infinity raise ``ValueError``."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def save_safetensors(path: str | Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write torch tensors in safetensors form, with string metadata; equal contents are equal bytes."""
    from safetensors.torch import save

    data = save({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}, dict(metadata or {}))
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the library orders metadata by chance
    write_bytes(path, len(header).to_bytes(8, "little") + header + data[end:])


def label(path: Path, made_by: str) -> str:
    """What an image says of itself: what it is ``made_by``, and its place."""
    return f"{made_by}/{path.parent.name}/{path.name}"


def save_png(path: str | Path, image: np.ndarray, compression: int = 6, made_by: str = "") -> None:
    """Write a uint8 (H, W, 3) or (H, W) array as PNG with its ``label``, if it says what it is ``made_by``.

    ``compression`` is zlib's level, 1 (fast) to 9 (small).
    """
    buffer, chunks = io.BytesIO(), PngInfo()
    if made_by:
        chunks.add_itxt("hspace_exp", label(Path(path), made_by))
    Image.fromarray(image).save(buffer, format="PNG", compress_level=compression, pnginfo=chunks)
    write_bytes(path, buffer.getvalue())
