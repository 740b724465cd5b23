"""Success and background against strength at several guidance scales, with vectors that were learnt at one.

    export PYTHONPATH=experiments/h_space_comparison # choose_strength looks at the images
    python experiments/guidance/law.py focused --out law_focused.json
    python experiments/guidance/law.py sdid --run RUN_DIR --out law_sdid.json

Without --run the vectors are those that come with the package. Images are asked for what their unedited twins do not
show; professions are those of the calibration, the image seed is 1. Strengths are multiples of
--strength times 3 / scale.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from choose_strength import asked_for_another, compare, generated, look
from hydra.utils import instantiate

from hspace_exp.avatars import CONCEPTS
from hspace_exp.concepts.concept import load_concept
from hspace_exp.config.command_line import composed
from hspace_exp.io.atomic import write_json
from hspace_exp.models.devices import resolve_device
from hspace_exp.pipeline.parts import make_parts, plain_config
from hspace_exp.results.record import describe_device, git_state

MULTIPLES = (0.35, 0.5, 0.71, 1.0, 1.41, 2.0, 2.83, 4.0)
SCALES = (1.5, 2.0, 3.0, 5.0, 7.5)


def main() -> None:
    """Measure, and print a line a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method")
    parser.add_argument("--run", type=Path, help="folder of a run whose vectors are used")
    parser.add_argument("--strength", type=float, default=2.5)
    parser.add_argument("--images", type=int, default=12, help="a profession")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    own = ["protocol=full", "protocol.image_seed=1", f"protocol.images_per_profession={a.images}", "logger=none"]
    cfg = composed(["+experiment=gender_fairness", f"method={a.method}", *own, *a.set], "config")
    cfg.protocol.professions, cfg.device = cfg.calibration.professions, str(resolve_device(cfg.device))
    evaluator, parts = instantiate(cfg.evaluator), make_parts(cfg, plain_config(cfg))
    folder = CONCEPTS if a.run is None else a.run / "concepts"
    concepts = {name: load_concept(folder / f"{name}.safetensors") for name in parts.learnt}
    rows: list[dict[str, Any]] = []
    for scale in SCALES:
        backbone = copy.copy(parts.backbone)
        backbone.guidance_scale = scale
        here = replace(parts, backbone=backbone)
        before = look(evaluator, generated(here, None))
        here = replace(here, items=asked_for_another(here, evaluator, before))
        for multiple in MULTIPLES:
            factor = 3 / scale
            low = replace(here.frequency, weight=factor * here.frequency.weight)
            edit: Any = here.method.edit
            edit = replace(edit, keep=factor * edit.keep) if hasattr(edit, "keep") else edit
            method = replace(here.method, strength=a.strength * multiple * factor, edit=edit)
            now = replace(here, method=method, frequency=low)
            found = compare(now, evaluator, before, look(evaluator, generated(now, now.edit(concepts))))
            rows.append({"guidance_scale": scale, "strength": a.strength * multiple * factor, **found})
            print(rows[-1], flush=True)
    about = {"method": a.method, "strength": a.strength, "set": a.set, "git": git_state()}
    write_json(a.out, {**about, "device": describe_device(parts.backbone.device), "rows": rows})


if __name__ == "__main__":
    main()
