"""Checksums of files, in ``checksums.json`` of their folder: what is damaged or another's is made again, and said."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hspace_exp.io.atomic import write_json
from hspace_exp.io.locks import alone

log = logging.getLogger(__name__)

FILE = "checksums.json"


def note(root: Path, *paths: Path) -> None:
    """Write down in a folder what files in and below it hold; who calls it is alone with the folder."""
    write_json(root / FILE, _noted(root) | {path.relative_to(root).as_posix(): _sum(path) for path in paths})


def is_noted(path: Path) -> bool | None:
    """Whether a file is as its folder's ``note`` says; None where that says nothing of it."""
    told = _noted(path.parent).get(path.name)
    return None if told is None else path.is_file() and told == _sum(path)


def is_sound(path: Path) -> bool:
    """The same, False where nothing is said; of a file that is there but not sound, it is said that it is made anew."""
    sound = is_noted(path)
    if not sound and path.exists():
        log.warning("%s %s: it is made again", path, "has no checksum" if sound is None else "is damaged or another's")
        clear(path)
    return bool(sound)


def damaged(root: Path) -> list[Path]:
    """Files that are not as a folder's ``note`` says, which is one of them where it says nothing."""
    noted = _noted(root) or {FILE: ""}
    return [path for name, told in noted.items() if not ((path := root / name).is_file() and told == _sum(path))]


def is_whole(root: Path) -> bool:
    """Whether a folder's ``note`` says anything, and all is as it says; a file that is not is removed, and said."""
    bad = damaged(root)
    for path in bad:
        log.warning("%s is %s: it is made again", path, "damaged" if path.exists() else "gone")
        # nothing elsewhere, whatever a stranger's file says
        if path.is_file() and path.parent.resolve().is_relative_to(root.resolve()):
            path.unlink()
    return not bad


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
            note(path.parent, path)
        return json.loads(path.read_bytes())


def _noted(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return {name: told for name, told in found.items() if name.isprintable()} if isinstance(found, dict) else {}


def _sum(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
