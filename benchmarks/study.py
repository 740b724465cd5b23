"""A study of 36 professions, 5 attributes, 3 models and 10 methods: jobs, images, GPU-hours and storage.

python -m benchmarks.study                       # docs/study.md is written around its output
python -m benchmarks.study --protocol full       # another size

Counts come from conf/, times from benchmarks/results; a quantity that nobody measured is named instead.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from benchmarks.layouts import LAYOUTS
from benchmarks.markdown import table
from benchmarks.result_files import read
from hspace_exp.config.checks import check, plain_config
from hspace_exp.config.command_line import CONF
from hspace_exp.config.schema import register
from hspace_exp.methods.focused import Focus
from hspace_exp.methods.learning import RUNS, Training
from hspace_exp.prompts.attributes import Attribute, kept_by, prompts_of
from hspace_exp.training.loop import evaluations

RESULTS = Path(__file__).parent / "results"
MODELS = {"sd15": "sd14", "sd21": "sd21", "sdxl": "sdxl"}  # and whose shape is measured
ATTRIBUTES = ("gender", "age", "race", "skin_tone", "expression")
METHODS = (
    *("original", "prompt", "sdid", "score_matching", "respodiff", "pca", "h_guidance", "lwim"),
    *("focused_sdid", "focused"),
)
SMOKE = {"images": 16, "steps": 8, "training": 8, "optimizer": 30}  # what benchmarks.full_size runs


@dataclass
class Counts:
    """What a study makes of one model; a pass is one denoising step of one guided image.

    Attributes:
        jobs: runs.
        pairs: images evaluated.
        passes: of generation and of what is learnt from, by what they are.
        rows: of optimiser steps.
        maps: attribute maps.
        files: images written.
        states: latents that are kept.
    """

    jobs: int
    pairs: int
    passes: dict[str, int]
    rows: int
    maps: int
    files: int
    states: int


def count(protocol: str, seeds: int = 1) -> Counts:
    """Count for one model; what runs share is counted once."""
    unedited, files = 0, 0
    found = Counts(0, 0, {"unedited": 0, "edited": 0, "learnt from": 0, "teachers": 0}, 0, 0, 0, 0)
    images: dict[str, int] = {}
    runs: dict[str, int] = {}
    masked: set[str] = set()
    for attribute in ATTRIBUTES:
        for name in METHODS:
            words = ["+experiment=gender_fairness", "model=sd15", f"method={name}", f"protocol={protocol}"]
            cfg = compose("config", [*words, f"attribute={attribute}"])
            config = plain_config(cfg)
            check(config)
            method, size = instantiate(cfg.method, _convert_="all"), config["protocol"]
            groups = Attribute.of(config["attribute"]).groups if method.edits else ()
            learnt = prompts_of(groups)
            if method.keeps:
                learnt = {**learnt, **{n: some for own in kept_by(groups).values() for n, some in own.items()}}
            times = seeds if method.training is not None else 1
            steps, made = size["num_inference_steps"], len(size["professions"]) * size["images_per_profession"]
            unedited = made * steps
            found.jobs, found.pairs, files = found.jobs + times, found.pairs + times * made, 2 * made
            found.files += times * (files if method.edits else made)
            if method.edits:
                along = 2 if _paired(method, config) else 1
                found.passes["edited"] += times * along * made * steps
            if isinstance(method.training, Training):
                optimizer = size["training_steps"] * method.training.steps_multiplier
                backward, forward = _evaluations(method.training, optimizer, size["training_images"] * steps)
                found.rows += times * backward * len(learnt)
                found.passes["teachers"] += times * (forward - backward) * len(learnt) // 2  # no guidance
            kinds = sorted(method.needs & set(RUNS))
            for prompt in learnt.values():
                if "images" in method.needs or "maps" in method.needs:
                    images[prompt.positive] = size["training_images"]
                if "maps" in method.needs:
                    masked.add(prompt.positive)
                for kind in kinds:
                    wanted = -(-size["training_images"] // len(kinds))
                    own = getattr(prompt, kind)
                    runs[own] = max(runs.get(own, 0), wanted)
    found.passes |= {"unedited": unedited, "learnt from": steps * (sum(images.values()) + sum(runs.values()))}
    found.maps = sum(images[prompt] for prompt in masked)
    found.files += made + sum(images.values())
    found.states = steps * sum(runs.values()) + sum(images.values())
    return found


def _evaluations(training: Training, optimizer: int, states: int) -> tuple[int, int]:
    """Rows with a gradient and rows in all that one concept's training takes, as its file will say."""
    before = 0
    if training.on_policy is not None:
        before = states * (1 if training.on_policy.teacher_guidance == 1 else 2)
        before += states // len(training.on_policy.runs) if training.presence else 0
    found = evaluations(training, optimizer, before)
    return found["backward"], found["forward"]


def _paired(method: Any, config: Mapping[str, Any]) -> bool:  # noqa: ANN401 (a method of any kind)
    """Whether each edited image takes an unedited run, too: at most, as foresight edits only what needs it."""
    if method.edit is not None:
        return isinstance(method.edit, Focus)
    return bool(config["frequency"].get("weight")) and config["frequency"].get("source") == "original"


def measured(results: Path, shape: str) -> dict[str, tuple[float, str]]:
    """Seconds of a pass, a row, a pair and a map, and where each was read; the least of what was measured."""
    found: dict[str, list[tuple[float, str]]] = {"pass": [], "row": [], "pair": [], "map": []}
    for file in sorted(results.glob("*.json")):
        one = read(file)
        if one.made.get("rehearsal"):
            continue
        for run in one.jobs:
            if run["model"] != shape or run.get("error"):
                continue
            seconds = {stage: some["seconds"] for stage, some in run["stages"].items()}
            found["pair"].append((seconds["evaluation"] / SMOKE["images"], file.name))
            if run["method"] == "sdid":
                found["pass"].append((seconds["generation"] / (2 * SMOKE["images"] * SMOKE["steps"]), file.name))
                found["row"].append((seconds["training"] / (SMOKE["optimizer"] * 16), file.name))
            if run["method"] == "lwim":
                found["map"].append((seconds["masks"] / (2 * SMOKE["training"]), file.name))
        for section in one.sections.values() if shape == "sd14" else ():
            for m in section["measures"]:
                if m["name"] == "ours, unedited":
                    found["pass"].append((m["median"] / m["images"] / m["steps"], file.name))
                if m["name"].startswith("ours, fresh noise, batch"):
                    found["row"].append((m["median"] / m["images"], file.name))
    return {name: min(some) for name, some in found.items() if some}


def hours(counts: Counts, seconds: Mapping[str, tuple[float, str]]) -> str:
    """GPU-hours of one model, or what is not measured."""
    amounts = {"pass": sum(counts.passes.values()), "row": counts.rows, "pair": counts.pairs, "map": counts.maps}
    missing = [name for name in amounts if name not in seconds]
    if missing:
        return f"not measured: s/{', s/'.join(missing)}"
    return f"{sum(amounts[name] * seconds[name][0] for name in amounts) / 3600:,.0f}"


def storage(counts: Counts, shape: str) -> float:
    """Upper bound in GB: images as raw pixels, which PNG stays below, and latents in float32."""
    unet, vae = LAYOUTS[shape].unet, LAYOUTS[shape].vae
    side = int(unet["sample_size"])
    pixels = side * 2 ** (len(vae["block_out_channels"]) - 1)
    return (counts.files * 3 * pixels**2 + counts.states * 4 * int(unet.get("in_channels", 4)) * side**2) / 1e9


def main(words: Sequence[str]) -> int:
    """Print the plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", default="paper")
    parser.add_argument("--seeds", type=int, default=1, help="of training")
    parser.add_argument("--results", type=Path, default=RESULTS)
    a = parser.parse_args(words)
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        counts = count(a.protocol, a.seeds)
    rows = [(f"{what}, passes", f"{n:,}") for what, n in counts.passes.items()]
    rows += [("rows of optimiser steps", f"{counts.rows:,}"), ("pairs evaluated", f"{counts.pairs:,}")]
    rows += [("maps", f"{counts.maps:,}"), ("image files", f"{counts.files:,}")]
    print(f"{counts.jobs} jobs a model, {counts.jobs * len(MODELS)} in all (protocol={a.protocol}, seeds: {a.seeds})\n")
    print(table(("of each model", "number"), rows))
    times = {model: measured(a.results, shape) for model, shape in MODELS.items()}
    lines = []
    for model, shape in MODELS.items():
        known = times[model]
        cells = [f"{1e3 * known[name][0]:.3g}" if name in known else "?" for name in ("pass", "row", "pair", "map")]
        lines.append((model, *cells, hours(counts, times[model]), f"{storage(counts, shape):,.0f}"))
    print(table(("", "ms a pass", "ms a row", "ms a pair", "ms a map", "GPU-hours", "GB at most"), lines))
    read = sorted({file for some in times.values() for _, file in some.values()})
    print(f"Times from {', '.join(read) or 'nothing: no results are there'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
