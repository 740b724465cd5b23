"""What a record says of where it comes from."""

from __future__ import annotations

from pathlib import Path

import hspace_exp
from hspace_exp.io.digest import config_digest
from hspace_exp.results.provenance import shareable


def test_shareable_hides_where_the_package_is_and_keeps_the_digest() -> None:
    package = Path(hspace_exp.__file__).resolve().parent
    config = {
        "model": {"source": str(package / "avatars" / "weights"), "name": "avatars"},
        "elsewhere": ["/data/models/sd15", 3, None],
    }
    shown = shareable(config)
    assert shown["model"] == {"source": "/hspace_exp/avatars/weights", "name": "avatars"}
    assert shown["elsewhere"] == config["elsewhere"]
    assert config_digest(shown) == config_digest(config)
    assert str(package.parent) not in str(shown["model"])
