"""Concepts go to a hub and come back, against a local stand-in of its HTTP interface."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from hspace_exp import Concept, steer
from hspace_exp.concepts.concept import load_concept
from hspace_exp.concepts.hub import local
from hspace_exp.errors import UserError

# Of the hub's own client, when it uploads.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

REPO = "someone/vectors"


@dataclass
class Hub:
    """Repositories as lists of commits, each path → bytes; what was fetched; and what is refused."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)  # of REPO, oldest first
    tags: dict[str, str] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)  # of large file storage
    created: list[dict[str, Any]] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    requests: int = 0
    address: str = ""
    closed: bool = False

    def add(self, files: dict[str, bytes]) -> str:
        """A commit that adds files."""
        before = next(reversed(self.commits.values()), {})
        commit = hashlib.sha1(repr((len(self.commits), sorted(files.items()))).encode()).hexdigest()
        self.commits[commit] = before | files
        return commit

    def commit_of(self, revision: str) -> str | None:
        """The commit that a revision names."""
        if revision == "main":
            return next(reversed(self.commits), None)
        return revision if revision in self.commits else self.tags.get(revision)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers, as huggingface.co answers."""
        self.requests += 1
        parts = path.strip("/").split("/")
        if self.closed:
            return 401, b'{"error": "Invalid credentials"}', {}
        if parts[0] == "storage":
            self.objects[parts[1]] = body
            return 200, b"", {}
        if method == "POST":
            return 200, json.dumps(self.posted(parts, body)).encode(), {}
        at = parts[parts.index("revision") + 1] if "revision" in parts else "main"
        if parts[:2] == ["api", "models"] and (commit := self.commit_of(at)) and f"{parts[2]}/{parts[3]}" == REPO:
            siblings = [{"rfilename": name, "size": len(data)} for name, data in self.commits[commit].items()]
            return 200, json.dumps({"id": REPO, "sha": commit, "siblings": siblings}).encode(), {}
        if len(parts) > 4 and parts[2] == "resolve" and (commit := self.commit_of(parts[3])):
            name = "/".join(parts[4:])
            data = self.commits[commit][name]
            self.fetched += [name] if method == "GET" else []
            return 200, data, {"ETag": hashlib.sha256(data).hexdigest(), "X-Repo-Commit": commit}
        return 404, b"{}", {"X-Error-Code": "RepoNotFound" if parts[0] == "api" else "EntryNotFound"}

    def posted(self, parts: list[str], body: bytes) -> Any:
        """What a POST does, and its answer."""
        if parts[-1] == "create":
            self.created.append(json.loads(body))
            return {"url": f"{self.address}/{REPO}"}
        if parts[-1] == "validate-yaml":
            return {"errors": [], "warnings": []}
        if "preupload" in parts:
            files = [one["path"] for one in json.loads(body)["files"]]
            kinds = {name: "lfs" if name.endswith(".safetensors") else "regular" for name in files}
            return {"files": [{"path": n, "uploadMode": kind, "shouldIgnore": False} for n, kind in kinds.items()]}
        if parts[-1] == "batch":
            wanted = json.loads(body)["objects"]
            places = [f"{self.address}/storage/{one['oid']}" for one in wanted]
            found = [{**one, "actions": {"upload": {"href": place}}} for one, place in zip(wanted, places, strict=True)]
            return {"transfer": "basic", "objects": found}
        assert parts[-2] == "commit"
        lines = [json.loads(line) for line in body.splitlines()]
        plain = {
            one["value"]["path"]: base64.b64decode(one["value"]["content"]) for one in lines if one["key"] == "file"
        }
        large = {one["value"]["path"]: self.objects[one["value"]["oid"]] for one in lines if one["key"] == "lfsFile"}
        commit = self.add(plain | large)
        return {"commitUrl": f"{self.address}/{REPO}/commit/{commit}", "commitOid": commit}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    served = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            status, data, headers = served.answer(self.command, self.path.partition("?")[0], body)
            self.send_response(status)
            for key, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_HEAD = do_GET = do_POST = do_PUT = _answer

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    served.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", served.address)
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", served.address)
    template = served.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def concept(name: str, seed: int = 0, **more: Any) -> Concept:
    draw = torch.Generator().manual_seed(seed)
    vector, presence = torch.randn(2, 16, 4, 4, generator=draw)
    given = {"model": "sd15", "revision": "abc", "h_shape": (16, 4, 4), "method": "focused", "presence": presence}
    prompts = {"positive": f"a photo of a {name} person", "neutral": "a photo of a person", "words": name}
    used = {"strength": 2.0, "branch": "conditional"}
    return Concept(vector, name, "gender", prompts=prompts, hyperparameters=used, **{**given, **more})


def saved(folder: Path) -> Path:
    """A folder of two concepts, one of another making, and other things."""
    for seed, name in ((20, "female"), (21, "male")):  # such that an image below has half of what is asked for
        concept(name, seed).save(folder / f"{name}.safetensors")
    concept("old", 22, method="sdid").save(folder / "old.safetensors")
    (folder / "notes.txt").write_text("mine")
    (folder / "weights.pt").write_bytes(b"a pickle")
    return folder


def test_a_concept_goes_up_with_what_its_method_needs_and_comes_back_the_same(
    hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = saved(tmp_path / "concepts")
    name = load_concept(folder / "female.safetensors").push_to_hub(REPO, private=True)
    (commit,) = hub.commits
    assert name == f"{REPO}/female@{commit}"
    assert (hub.created[0]["name"], hub.created[0]["organization"]) == ("vectors", "someone")
    assert hub.created[0].get("private") or hub.created[0].get("visibility") == "private"
    there = hub.commits[commit]
    assert sorted(there) == ["README.md", "female.md", "female.safetensors", "male.md", "male.safetensors"]
    for file in ("female.safetensors", "male.safetensors", "male.md"):
        assert there[file] == (folder / file).read_bytes()
    with caplog.at_level(logging.INFO, logger="hspace_exp"):
        place = local(f"{REPO}/female")
    assert commit in caplog.text
    assert sorted(path.name for path in place.parent.iterdir()) == sorted(there)
    assert torch.equal(load_concept(place).vector, concept("female", 20).vector)


def test_the_readme_has_the_front_matter_that_a_hub_reads(hub: Hub, tmp_path: Path) -> None:
    load_concept(saved(tmp_path / "concepts") / "female.safetensors").push_to_hub(REPO)
    text = hub.commits[next(iter(hub.commits))]["README.md"].decode()
    assert yaml.safe_load(text.split("---\n")[1]) == {
        "base_model": "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "library_name": "hspace_exp",
        "license": "mit",
        "pipeline_tag": "text-to-image",
        "tags": ["h-space", "concept-vector", "gender", "focused"],
    }
    assert ModelCard(text).data.license == "mit"
    assert f'steer(pipe, {{"{REPO}/female": 2.0}})' in text
    assert "# Concept vector: male" in text
    made_by = concept("odd", model="avatars", licence="my own: terms")
    made_by.push_to_hub(REPO)
    head = yaml.safe_load(hub.commits[hub.commit_of("main") or ""]["README.md"].decode().split("---\n")[1])
    assert "base_model" not in head
    assert (head["license"], head["license_name"]) == ("other", "my own: terms")


def test_steer_fetches_a_set_and_acts_as_the_folder_does(
    hub: Hub, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = diffusers.DiffusionPipeline.from_pretrained(tiny_folder)
    pipe.set_progress_bar_config(disable=True)
    folder = saved(tmp_path / "concepts")
    name = load_concept(folder / "female.safetensors").push_to_hub(REPO)

    def latents(**given: float) -> torch.Tensor:
        noise = torch.Generator().manual_seed(3)
        with steer(pipe, given):
            prompt = ["a photo of a doctor"] * 2
            return pipe(prompt, generator=noise, num_inference_steps=3, output_type="latent").images

    expected, alone = latents(**{str(folder / "female.safetensors"): 2.0}), tmp_path / "alone" / "female.safetensors"
    concept("female", 20).save(alone)
    assert not torch.equal(latents(**{str(alone): 2.0}), expected)  # what lies beside it counts
    assert torch.equal(latents(**{f"{REPO}/female": 2.0}), expected)
    assert sorted(hub.fetched) == ["README.md", "female.md", "female.safetensors", "male.md", "male.safetensors"]
    before = hub.requests
    assert torch.equal(latents(**{name: 2.0}), expected)  # a whole commit that is there asks nobody
    assert hub.requests == before


def test_a_revision_is_what_it_names_and_the_newest_is_asked_for(hub: Hub, tmp_path: Path) -> None:
    first = concept("female", 0).push_to_hub(REPO)
    second = concept("female", 1).push_to_hub(REPO)
    hub.tags["v1"] = first.partition("@")[2]
    assert torch.equal(load_concept(local(first)).vector, concept("female", 0).vector)
    assert torch.equal(load_concept(local(second)).vector, concept("female", 1).vector)
    assert torch.equal(load_concept(local(f"{REPO}/female@v1")).vector, concept("female", 0).vector)
    assert torch.equal(load_concept(local(f"{REPO}/female")).vector, concept("female", 1).vector)
    concept("female", 2).push_to_hub(REPO)
    assert torch.equal(load_concept(local(f"{REPO}/female")).vector, concept("female", 2).vector)


def test_folders_of_a_repository_are_sets_and_nothing_else_is_fetched(hub: Hub, tmp_path: Path) -> None:
    data = concept("female").save(tmp_path / "female.safetensors").read_bytes()
    names = ("sd15/v2/female.safetensors", "sd15/v2/male.safetensors", "sd15/female.safetensors", "female.safetensors")
    others = {"sd15/v2/run.bin": b"x", "sd15/v2/female.pt": b"x", "sd15/v2/big.safetensors": bytes(64 * 2**20 + 1)}
    hub.add({name: data + name.encode() for name in names} | others)
    assert local(f"{REPO}/sd15/v2/female").read_bytes() == data + names[0].encode()
    assert hub.fetched == ["sd15/v2/male.safetensors", "sd15/v2/female.safetensors"]
    with pytest.raises(UserError, match=r"has no sd15/v2/big\.safetensors of at most 64 MiB"):
        local(f"{REPO}/sd15/v2/big")


@pytest.mark.parametrize(
    "place", ["female", "a/female", "../a/b/female", "/a/b/c", "a/b/../c", "a/b/c.safetensors", "a/b/.c", Path("a/b/c")]
)
def test_what_is_no_name_of_a_hub_is_a_path(hub: Hub, place: str | Path) -> None:
    assert local(place) == Path(place)
    assert hub.requests == 0


def test_a_file_that_is_there_comes_first(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = concept("female").save(tmp_path / "someone" / "vectors" / "female.safetensors")
    file.rename(file.with_suffix(""))
    assert load_concept(local(f"{REPO}/female")).name == "female"
    assert hub.requests == 0


def test_what_goes_wrong_is_one_line(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add({"female.safetensors": b"no concept"})
    told = []
    for name in (f"{REPO}/male", "no/where/female", f"{REPO}/female@v9"):
        with pytest.raises(UserError, match="from the Hugging Face hub it cannot be had") as caught:
            local(name)
        told.append(str(caught.value))
    with pytest.raises(UserError, match="no whole concept file"):
        load_concept(local(f"{REPO}/female"))
    with pytest.raises(UserError, match="expected a name of"):
        concept("../female")
    hub.closed = True
    with pytest.raises(UserError, match="hf auth login") as caught:
        concept("female").push_to_hub(REPO)
    told.append(str(caught.value))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="from the Hugging Face hub it cannot be had") as caught:
        local(f"{REPO}/female")
    assert not [text for text in [*told, str(caught.value)] if "\n" in text]
