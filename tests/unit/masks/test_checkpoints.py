"""Published checkpoints: downloaded once, whole and verified, or one clear line."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hspace_exp.errors import UserError
from hspace_exp.masks import checkpoints
from hspace_exp.masks.checkpoints import PUBLISHED, default_folder, download

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    """A file server that writes no log."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "sam.pth").write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served"))) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()


def test_download_once(server: str, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "sam"
    path = download(f"{server}/sam.pth", SHA256, folder)
    assert path == folder / "sam.pth"
    assert path.read_bytes() == CONTENT
    (tmp_path / "served" / "sam.pth").unlink()
    assert download(f"{server}/sam.pth", SHA256, folder) == path
    assert [p.name for p in folder.iterdir()] == ["sam.pth"]


def test_a_wrong_file_leaves_nothing_behind(server: str, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=rf'invalid hash value \(expected "{"0" * 64}", got "{SHA256}"\)\): try again, or download'
    ) as caught:
        download(f"{server}/sam.pth", "0" * 64, tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_unreachable_addresses_say_what_to_do(server: str, tmp_path: Path) -> None:
    for url in (f"{server}/none.pth", (tmp_path / "none.pth").as_uri()):
        with pytest.raises(UserError, match=r"none\.pth cannot be had .* set mask\.checkpoint to the file") as caught:
            download(url, SHA256, tmp_path / "cache")
        assert "\n" not in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_published_models_have_whole_hashes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert set(PUBLISHED) == {"vit_b", "vit_l", "vit_h"}
    for name, published in PUBLISHED.items():
        assert len(bytes.fromhex(published["sha256"])) == 32
        assert published["url"].startswith(f"https://dl.fbaipublicfiles.com/segment_anything/sam_{name}_")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "hspace_exp" / "sam"
    served = tmp_path / "sam_vit_b.pth"
    served.write_bytes(CONTENT)
    monkeypatch.setitem(checkpoints.PUBLISHED, "vit_b", {"url": served.as_uri(), "sha256": SHA256})
    assert download(**PUBLISHED["vit_b"], folder=default_folder()).read_bytes() == CONTENT
