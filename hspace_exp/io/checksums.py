"""Checksums beside files: what changed by itself, or is another's, is noticed, made again, and said.

They lie in ``checksums.json`` of a folder. A checksum is of a file's place and contents, so that neither a swapped file
nor a swapped folder passes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hspace_exp.io.atomic import write_json
from hspace_exp.io.locks import alone

log = logging.getLogger(__name__)

FILE = "checksums.json"


def note(*paths: Path) -> None:
    """Write down what files of one folder hold, under the folder's name: of two folders neither passes for the other.

    What is written down of other files stays. Who calls it is alone with the folder.
    """
    folder = paths[0].parent
    write_json(folder / FILE, _noted(folder) | {path.name: _sum(path, folder.name) for path in paths})


def seal(root: Path, paths: Iterable[Path]) -> None:
    """Write down what files in and below ``root`` hold, and nothing else, wherever ``root`` lies."""
    names = [path.relative_to(root).as_posix() for path in paths]
    write_json(root / FILE, {name: _sum(root / name) for name in names})


def is_sound(path: Path) -> bool:
    """Whether a file is as ``note`` wrote it down; where one is there that is not, this is said."""
    if not path.exists():
        return False
    noted = _noted(path.parent).get(path.name)
    if path.is_file() and noted == _sum(path, path.parent.name):
        return True
    log.warning("%s %s: it is made again", path, "has no checksum" if noted is None else "is damaged or another's")
    clear(path)
    return False


def is_sealed(path: Path) -> bool | None:
    """Whether a file is as ``seal`` of its own folder wrote it down; None where it did not."""
    noted = _noted(path.parent).get(path.name)
    return None if noted is None else path.is_file() and noted == _sum(path)


def is_whole(root: Path) -> bool | None:
    """Whether all is as ``seal`` wrote it down, None where it wrote nothing; what is not is removed, and said."""
    noted, whole = _noted(root), True
    for name, told in noted.items():
        path = root / name
        if path.is_file() and told == _sum(path):
            continue
        whole = False
        log.warning("%s is %s: it is made again", path, "damaged" if path.exists() else "gone")
        if path.resolve().is_relative_to(root.resolve()):  # a stranger's list removes nothing elsewhere
            clear(path)
            path.unlink(missing_ok=True)
    return whole if noted else None


def clear(path: Path) -> None:
    """Make room for a file: a folder in its place is removed, and that is said."""
    if path.is_dir() and not path.is_symlink():
        log.warning("%s is a folder in the place of a file: it is removed", path)
        shutil.rmtree(path)


def kept_json(path: Path, make: Callable[[], Any]) -> Any:  # noqa: ANN401 (plain data)
    """Plain data from a file that runs share, made where that is not sound."""
    with alone(path.parent):
        if not is_sound(path):
            write_json(path, make())
            note(path)
        return json.loads(path.read_bytes())


def _noted(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return {name: told for name, told in found.items() if name.isprintable()} if isinstance(found, dict) else {}


def _sum(path: Path, folder: str = "") -> str:
    found = hashlib.blake2b(f"{folder}/{path.name}\n".encode("utf-8", "surrogatepass"), digest_size=16)
    found.update(path.read_bytes())
    return found.hexdigest()
