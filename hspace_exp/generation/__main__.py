"""``python -m hspace_exp generate prompt="…" concepts=[…]``: images, their unedited twins and a grid."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from hspace_exp.config.command_line import CONF, KNOWN, importing, one_line
from hspace_exp.config.schema import register
from hspace_exp.errors import UserError

WRONG, INTERRUPTED = 2, 130
ABOUT = """Images of one prompt, steered by concept files, each beside its unedited twin.

  python -m hspace_exp generate prompt="a photo of a doctor" concepts=[female.safetensors] strength=2 seeds=8
  python -m hspace_exp generate prompt="a photo of a doctor" concepts=outputs/…/seed=0/concepts ask=gender

assignment=balanced makes a fair batch: each concept in turn; sum asks for all at once; a name asks for that one.
Concepts are applied as the method that made them does; method=sdid adds them plainly. A prompt that names the
attribute itself is left alone (respect_prompt=false edits it, too). The same command goes on where it stopped.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 2 for wrong input, 130 when interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    try:
        if {"-h", "--help"} & set(given):
            print(f"{ABOUT}\n{(CONF / 'generate.yaml').read_text(encoding='utf-8')}")
            return 0
        _make([_quoted(one) for one in given])
    except KNOWN as error:
        print(f"error: {one_line(error, 'generate')}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return 0


def _quoted(argument: str) -> str:
    """``key='value'`` where a plain value holds "=", as in the folder of a run: "…/seed=0/concepts"."""
    key, _, value = argument.partition("=")
    if "=" not in value or value[0] in "'\"[{":
        return argument
    escaped = value.replace("'", "\\'")
    return f"{key}='{escaped}'"


def _settings(given: list[str]) -> DictConfig:
    """Compose ``conf/generate.yaml``; where no method is named, that of the concept files is taken."""
    with importing():
        from hspace_exp.generation.request import Request, method_of, read_concepts

    register()
    ConfigStore.instance().store(name="generate_schema", node=Request)
    overrides = {one.key_or_group: one.value() for one in OverridesParser.create().parse_overrides(given)}
    for key in ("prompt", "concepts"):
        if key not in overrides:
            raise UserError(f"{key}=… is missing; --help shows examples")
    chosen = [] if "method" in overrides else [f"method={method_of(read_concepts(_plain(overrides['concepts'])))}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("generate", [*given, *chosen])


def _plain(value: Any) -> Any:
    return [str(one) for one in value] if isinstance(value, list) else str(value)


def _make(given: list[str]) -> None:
    cfg = _settings(given)

    from hydra.utils import instantiate

    from hspace_exp.doctor.needs import pipeline
    from hspace_exp.doctor.require import require_all
    from hspace_exp.generation import request
    from hspace_exp.generation.generate import claim, generate
    from hspace_exp.generation.grid import strip
    from hspace_exp.generation.manifest import read_manifest, write_manifest
    from hspace_exp.io.atomic import save_png
    from hspace_exp.io.digest import digest, essential
    from hspace_exp.io.progress import quieten
    from hspace_exp.methods.added import make_edit
    from hspace_exp.models.devices import resolve_device
    from hspace_exp.models.prompts import check_prompts
    from hspace_exp.models.sampling import Sampling
    from hspace_exp.prompts.attributes import kept_by, prompts_of
    from hspace_exp.prompts.explicit import explicit_prompts

    quieten()
    cfg.device = str(resolve_device(cfg.device))
    plain: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    concepts = request.read_concepts(plain["concepts"])
    groups = request.asked_groups(concepts, plain["ask"] or request.named_one_by_one(plain["concepts"], concepts))
    items = request.items_of(plain["prompt"], plain["seeds"], groups, plain["assignment"])
    if plain["num_inference_steps"] < 1 or plain["chunk_size"] < 1:
        raise UserError("expected num_inference_steps and chunk_size of at least 1")
    if plain["respect_prompt"] and explicit_prompts([plain["prompt"]], groups):
        items = [replace(item, target="") for item in items]
    method, frequency, make_scheduler = (
        instantiate(node, _convert_="all") for node in (cfg.method, cfg.frequency, cfg.scheduler)
    )
    if not method.edits:
        raise UserError(f"method {method.name!r} edits nothing: choose another, e.g. method=sdid")
    amounts = request.strengths(concepts, list(prompts_of(groups)), plain["strength"], method.strength_of)
    method = replace(method, strength=amounts, calibration={})
    require_all([pipeline(plain["model"])])
    backbone = instantiate(cfg.model, _convert_="all")
    check_prompts(backbone.encode_prompts, [plain["prompt"]])
    for concept in concepts.values():
        concept.check(backbone)
    keep = kept_by(groups) if method.keeps else {}
    edit = make_edit(method, frequency, prompts_of(groups), keep, concepts)
    sampling = Sampling(plain["num_inference_steps"], make_scheduler, plain["chunk_size"])
    out = Path(plain["out"])
    made_by: dict[str, Any] = {"sampling": sampling.describe(backbone), "image_seed": plain["image_seed"]}
    made_by |= {"prompt": plain["prompt"]}
    edited_by = {**made_by, "items": [[i.seed_index, i.target] for i in items], "strength": amounts}
    edited_by |= {"method": essential(plain["method"]), "frequency": essential(plain["frequency"])}
    edited_by |= {"vectors": {name: digest(concept.vector.flatten().tolist()) for name, concept in concepts.items()}}
    for kind, by, how in (("original", made_by, None), ("edited", edited_by, edit)):
        folder = out / "images" / kind
        claim(folder, digest(by))
        generate(
            backbone, sampling, items, folder, image_seed=plain["image_seed"], edit=how, description=f"{kind} images"
        )  # fmt: skip
    manifest = write_manifest(out, items, amounts, edited=True)
    pairs = [replace(pair, profession=f"seed {pair.seed_index}") for pair in read_manifest(manifest)]
    save_png(out / "grid.png", strip({"edited": pairs}))
    logging.getLogger(__name__).info("%d images and their twins: %s", len(items), out / "grid.png")


if __name__ == "__main__":
    sys.exit(main())
