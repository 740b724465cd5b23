"""What is fetched of a hub's pipeline, and what is said when it cannot be."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.models import hub
from hspace_exp.models.backbone import load_backbone
from hspace_exp.models.loading import count_parameters

COMMIT = "c0ffee" + "0" * 34


@pytest.fixture
def hub_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], list[str]]]:
    """Serves a folder as the repository ``someone/model`` of a hub; returns the list of files that are fetched."""
    fetched: list[str] = []
    places: list[Path] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(send=False)

        def do_GET(self) -> None:
            self._answer(send=True)

        def log_message(self, *args: object) -> None:
            pass

        def _answer(self, send: bool) -> None:
            folder, path = places[-1], self.path.partition("?")[0]
            files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
            name = path.partition(f"/resolve/{COMMIT}/")[2]
            if "/tree/" in path:
                tree = [
                    {"type": "file", "path": f, "size": (folder / f).stat().st_size, "oid": "0" * 40} for f in files
                ]
                body = json.dumps(tree).encode()
            elif path.startswith("/api/"):
                about = {"id": "someone/model", "sha": COMMIT, "siblings": [{"rfilename": f} for f in files]}
                body = json.dumps(about).encode()
            elif name in files:
                body = (folder / name).read_bytes()
                if send:
                    fetched.append(name)
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("ETag", hashlib.sha256(body).hexdigest())
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if send:
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))

    def serve(folder: Path) -> list[str]:
        places.append(folder)
        return fetched

    yield serve
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_one_set_of_weights_is_fetched_and_nothing_else(
    hub_of: Callable[[Path], list[str]], tiny_folder: Path, tmp_path: Path, variant: str | None
) -> None:
    there = shutil.copytree(tiny_folder, tmp_path / "there")
    unet = there / "unet" / "diffusion_pytorch_model.safetensors"
    for other in ("diffusion_pytorch_model.bin", "diffusion_pytorch_model.fp16.safetensors"):
        shutil.copy(unet, unet.with_name(other))
    for other in ("v1-5-pruned.safetensors", "safety_checker/model.safetensors"):
        (there / other).parent.mkdir(exist_ok=True)
        shutil.copy(unet, there / other)
    fetched = hub_of(there)
    backbone = load_backbone("someone/model", revision="main", variant=variant, device="cpu")
    assert backbone.revision == COMMIT
    weights = [name for name in fetched if name.endswith((".safetensors", ".bin"))]
    assert sorted(weights) == [
        "text_encoder/model.safetensors",
        f"unet/diffusion_pytorch_model{'.fp16' if variant else ''}.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    fetched.clear()
    assert hub.cached("someone/model", COMMIT) == hub.snapshot("someone/model", COMMIT, variant)
    assert not fetched


def test_a_folder_of_another_variant_loads_all_the_same(tiny_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "half")
    for file in [*folder.rglob("*.safetensors")]:
        file.rename(file.with_suffix(".fp16.safetensors"))
    plain, half = load_backbone(tiny_folder, device="cpu"), load_backbone(folder, device="cpu")
    assert torch.equal(plain.unet.conv_in.weight, half.unet.conv_in.weight)
    assert load_backbone(tiny_folder, variant="fp16", device="cpu").revision == plain.revision


def test_path_stands_in_for_the_hub(tiny_folder: Path, tmp_path: Path) -> None:
    there = load_backbone("CompVis/stable-diffusion-v1-4", path=tiny_folder, revision="0" * 40, device="cpu")
    assert there.revision == load_backbone(tiny_folder, device="cpu").revision
    with pytest.raises(UserError, match="does not exist"):
        load_backbone("CompVis/stable-diffusion-v1-4", path=tmp_path / "nothing", device="cpu")


def test_parameters_are_counted_without_weights(tiny_folder: Path) -> None:
    unet = load_backbone(tiny_folder, device="cpu").unet
    assert count_parameters(tiny_folder) == sum(p.numel() for p in unet.parameters())


def test_half_a_download_is_no_pipeline(tiny_sdxl_folder: Path, tmp_path: Path) -> None:
    assert hub.is_whole(tiny_sdxl_folder)
    assert not hub.is_whole(tmp_path)
    for lost in ("text_encoder_2/model.safetensors", "scheduler"):
        part = shutil.copytree(tiny_sdxl_folder, tmp_path / lost.replace("/", "-"))
        shutil.rmtree(part / lost) if (part / lost).is_dir() else (part / lost).unlink()
        assert not hub.is_whole(part)


def test_a_hub_that_does_not_answer_costs_seconds_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(UserError, match=r"hf download nobody/nothing --revision abc .*model\.path=") as caught:
        load_backbone("nobody/nothing", revision="abc", device="cpu")
    assert time.monotonic() - started < 10
    assert "\n" not in str(caught.value)
