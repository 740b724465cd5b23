"""The published checkpoints of Segment Anything: where they are, and whether a file is one of them.

The SHA-256 values are those that the micro-sam project and 3D Slicer's Segment Anything extension pin for the same
files. The six digits in Meta's file names are the beginning of the MD5, which says less.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from hspace_exp.errors import getting

log = logging.getLogger(__name__)


# Kind → ``url`` of a file of 0.4, 1.2 or 2.6 GB, and the ``sha256`` of what it must hold.
PUBLISHED: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("published.json").read_text("utf-8"))


def default_folder() -> Path:
    """Where downloads are kept: ``hspace_exp/sam`` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hspace_exp" / "sam"


def download(url: str, sha256: str, folder: Path) -> Path:
    """The file in ``folder``, fetched where it is not there; it has its name only if its SHA-256 was right.

    Raises UserError: the address cannot be reached, the folder cannot be written, or the file is not what it must be.
    """
    from torch.hub import download_url_to_file

    path = folder / Path(url).name
    if not path.is_file():
        log.info("downloading %s to %s", url, folder)
        with getting(url, "try again, or download it elsewhere and set mask.checkpoint to the file"):
            folder.mkdir(parents=True, exist_ok=True)
            download_url_to_file(url, str(path), sha256)
    return path
