"""Files that a configuration needs and the package does not bring: what is here, and how to get the rest."""

from __future__ import annotations

import importlib.util
import logging
import os
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hspace_exp.config.schema import AUTO
from hspace_exp.config.trust import with_target
from hspace_exp.errors import UserError
from hspace_exp.models import hub
from hspace_exp.models.hub import answers
from hspace_exp.prompts.attributes import Attribute
from hspace_exp.results.loggers import has_key, server

log = logging.getLogger(__name__)

Node = Mapping[str, Any]

# Attributes of conf/attribute that the embedded world does not draw; those of one's own are judged by their words.
PHOTOGRAPHED = ("race",)
_FIDELITY = "https://github.com/toshas/torch-fidelity/releases/download"
_INCEPTION = f"{_FIDELITY}/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
_I2P = "your own file, never bundled, and no more are Q16 and NudeNet, optional judges: experiments/i2p/README.md"
_LPIPS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}
# What libraries publish where, of what conf/ asks for: looking it up there would take seconds.
PLACES: Mapping[str, str] = yaml.safe_load(Path(__file__).with_name("published.yaml").read_text("utf-8"))
# Modules of ours whose objectives need attribute maps; others are imported and asked.
MAPPED, UNMAPPED = "hspace_exp.methods.lwim.", ("hspace_exp.methods.", "hspace_rivals.")


@dataclass(frozen=True)
class Need:
    """Something that a run needs."""

    what: str  # in words
    place: str | None  # where it is, None where it is missing
    how: str  # what to do to have it
    host: str = ""  # where it is fetched from on first use; "" where nothing fetches it


def require(needs: Sequence[Need]) -> None:
    """Refuse a run that would fail for want of a file; one request to each host that would be asked later.

    Where the Hugging Face hub does not answer and everything is here, its libraries are told to work offline: they
    would try again for half a minute each time before they look at what they have. Raises UserError: something is
    missing and cannot be fetched; the message says how to get each thing.
    """
    missing = [need for need in needs if need.place is None and not (need.host and answers(need.host))]
    if missing:
        silent = sorted({hub.site(need.host) for need in missing if need.host})
        why = f", and {' and '.join(silent)} {'do' if len(silent) > 1 else 'does'} not answer" if silent else ""
        ways = "; ".join(f"{need.what}: {need.how}" for need in missing)
        other = ". Or use model=avatars, which needs no download" if silent else ""
        raise UserError(f"this run needs what is not here{why}. {ways}{other}")
    if any(need.host == hub.host() for need in needs) and not answers(hub.host()):
        from huggingface_hub import constants

        log.info("%s does not answer: what was fetched before is used", hub.host())
        constants.HF_HUB_OFFLINE = True


def is_judged(config: Node) -> bool:
    """Whether a stage of a run asks an evaluator."""
    calibrated = "calibration" in config["stages"] and config["method"].get("strength") == AUTO
    return calibrated or "evaluation" in config["stages"]


def needs_of(config: Node) -> list[Need]:
    """All that a resolved configuration needs, what is here included; nothing is fetched."""
    objective = (config["method"].get("training") or {}).get("objective") or {}
    used = {"model": config["model"], "logger": config.get("logger")}
    if is_judged(config):
        used["evaluator"] = config["evaluator"]
    if _needs_maps(str(objective.get("_target_", ""))):
        used["mask"] = config["mask"]
    found = needs_in(list(used.values()))
    if "evaluator" in used and str(config["evaluator"].get("_target_", "")).endswith(".AvatarEvaluator"):
        strange = [group.name for group in Attribute.of(config["attribute"]).groups if group.name in PHOTOGRAPHED]
        how = "the embedded world does not show it: add a model of photographs, e.g. model=sd15"
        found += [Need(f"a judge of {name}", None, how) for name in strange]
    if file := config["prompts"].get("file"):
        found.append(Need(f"prompts {file}", file if Path(file).expanduser().is_file() else None, _I2P))
    return list(dict.fromkeys(found))


def needs_in(nodes: object) -> list[Need]:
    """What all that has a ``_target_`` in plain data needs."""
    every = [(KINDS.get(str(one["_target_"]).rsplit(".", 1)[-1]), one) for _, one in with_target(nodes)]
    return [need for make, one in every if make is not None and (need := make(one)) is not None]


def _needs_maps(objective: str) -> bool:
    if not objective or objective.startswith((MAPPED, *UNMAPPED)):
        return objective.startswith(MAPPED)
    return bool(getattr(pkgutil.resolve_name(objective), "needs_maps", False))


def pipeline(node: Node) -> Need:
    """A text-to-image model."""
    path, source, revision = node.get("path"), str(node["source"]), node.get("revision")
    what = f"model {node.get('name') or source}"
    if path is not None or hub.is_folder(source):
        folder = Path(path or source).expanduser()
        if hub.is_whole(folder):
            return Need(what, str(folder), "")
        wrong = f"{folder} {'lacks parts of a pipeline' if folder.exists() else 'does not exist'}"
        return Need(what, None, f"{wrong}: `{hub.download_command(source, revision, str(folder))}`" if path else wrong)
    cached = hub.cached(source, revision)
    folder = Path("models") / str(node.get("name") or Path(source).name)
    command = hub.download_command(source, revision, str(folder))
    return Need(what, None if cached is None else str(cached), f"`{command}`, then model.path={folder}", hub.host())


def _open_clip(node: Node) -> Need:
    from huggingface_hub import try_to_load_from_cache

    model, weights = str(node["model"]), str(node["weights"])
    what, then = f"OpenCLIP {model} {Path(weights).name}", ", then evaluator.weights="
    repo = PLACES.get(f"{model} {weights}", "")
    if not repo:
        import open_clip

        published = open_clip.get_pretrained_cfg(model, weights)
        if not published:
            there = weights if Path(weights).expanduser().is_file() else None
            return Need(what, there, "evaluator.weights must be a file or a name of OpenCLIP's")
        repo = str(published.get("hf_hub") or "").strip("/")
        if not repo:
            return _download(what, str(published["url"]), f"{then}<file>", Path.home() / ".cache" / "clip")
    files = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    cached = (try_to_load_from_cache(repo, file) for file in files)
    there = next((path for path in cached if isinstance(path, str)), None)
    how = f"`hf download {repo} {files[0]} --local-dir models/clip`{then}models/clip/{files[0]}"
    return Need(what, there, how, hub.host())


def _segment_anything(node: Node) -> Need | None:
    """A published one; the small one comes with the package."""
    from hspace_exp.masks.checkpoints import PUBLISHED, default_folder

    kind, given = str(node.get("model_type", "small")), node.get("checkpoint")
    if kind not in PUBLISHED:
        if given is None:
            return None
        own = Path(given).expanduser() / "config.json"
        how = "mask.checkpoint names no folder of the small one; null takes the embedded one"
        return Need(f"Segment Anything {given}", str(own) if own.is_file() else None, how)
    what, then = f"Segment Anything {kind}", ", then mask.checkpoint=<file>"
    return _download(what, PUBLISHED[kind]["url"], then, default_folder(), given)


def _weights_and_biases(node: Node) -> Need | None:
    """An account, where runs must be online; else they do without."""
    if node.get("mode") != "online" or os.environ.get("WANDB_MODE") == "disabled":
        return None
    there = server() if has_key() and answers(server()) else None
    how = "`wandb login`, or logger.mode=auto for offline runs"
    return Need("a key of Weights & Biases and its server", there, how)


def _inception(node: Node) -> Need:
    if importlib.util.find_spec("torch_fidelity") is None:
        return Need("Inception features", None, "`pip install 'hspace-exp[inception]'`")
    then = ", then evaluator.features.weights=<file>"
    return _download("Inception features", _INCEPTION, then, given=node.get("weights"))


def _torchvision(what: str, network: str, weights: str | None = None) -> Need:
    url = PLACES.get(network)
    if url is None:
        from torchvision.models import get_model_weights

        url = str(next(iter(get_model_weights(network))).url)
    return _download(f"{what} ({network})", url, given=weights)


def _download(what: str, url: str, then: str = "", folder: Path | None = None, given: str | None = None) -> Need:
    """A file of an address: where it is given, or in the folder, by default torch's hub, where its library keeps it."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    kept = folder or Path(os.environ.get("TORCH_HOME") or Path(caches, "torch")) / "hub" / "checkpoints"
    place = Path(given).expanduser() if given else kept / Path(url).name
    how = f"download {url}{then or f' to {place.parent}'}"
    return Need(what, str(place) if place.is_file() else None, how, "" if given else url)


# The class or function that a ``_target_`` names → what it needs.
KINDS: dict[str, Callable[[Node], Need | None]] = {
    "load_backbone": pipeline,
    "PhotoEvaluator": _open_clip,
    "SamMasks": _segment_anything,
    "wandb_logger": _weights_and_biases,
    "InceptionFeatures": _inception,
    "BackgroundLpips": lambda node: _torchvision("LPIPS", _LPIPS.get(str(node.get("backbone", "alex")), "alexnet")),
    "PersonSegmenter": lambda node: _torchvision("person masks", str(node["network"]), node.get("weights")),
}
