"""``python -m hspace_exp evaluate images=…``: score images made elsewhere with the code that scores runs."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hspace_exp.config.command_line import command, importing
from hspace_exp.errors import UserError, unknown

if TYPE_CHECKING:
    from hspace_exp.evaluation.score import Evaluator
    from hspace_exp.results.record import RunRecord

INTERRUPTED = 130
JUDGES = ("avatars", "photos")
ABOUT = """Score images made elsewhere with the code that scores runs.

  python -m hspace_exp evaluate images=FOLDER                      one subfolder a profession
  python -m hspace_exp evaluate images=FOLDER reference=FOLDER     the same file names: pairs; others: two sets
  python -m hspace_exp evaluate images=TABLE.csv                   a column image, more where known: profession,
                                                                   prompt, target, truth, original
  python -m hspace_exp evaluate images=outputs/…/seed=0            a finished run again

attribute: e.g. gender; gender+skin_tone judges both at once, with targets such as female+dark.
judge: avatars (the embedded world) or photos (an OpenCLIP model; model= and weights= say which).
persons: a segmentation network, e.g. deeplabv3_resnet50, that finds the person in photos, for metrics of backgrounds.
"""


@dataclass
class Arguments:
    """What the command line may set, as ``key=value``."""

    images: str = ""
    reference: str = ""
    attribute: str = "gender"
    judge: str = "avatars"
    out: str = ""  # a folder; outputs/evaluate/<name>/<attribute> where none is named
    name: str = ""  # stands in tables; the images' folder where none is given
    model: str = "ViT-B-32"
    weights: str = "laion2b_s34b_b79k"
    margin: float = 0.0
    persons: str = ""
    person_weights: str = ""  # torchvision's file; fetched where none is named
    labelled: int = 216
    cache: str = "cache"
    device: str = "auto"
    repeats: int = 1000
    batch: int = 32
    seed: int = 0


def run(a: Arguments, words: Sequence[str] = ()) -> RunRecord:
    """Evaluate and leave ``record.json``, ``judged.csv``, ``manifest.csv``, pictures and a table.

    Raises:
        UserError: an argument or a file is wrong.
    """
    if not a.images:
        raise UserError("say what to evaluate: images=<folder, manifest or run>")
    if a.judge not in JUDGES:
        raise unknown("judge", a.judge, JUDGES)
    images = Path(a.images)
    name = a.name or (images.stem if images.is_file() else images.resolve().name)
    out = Path(a.out) if a.out else Path("outputs/evaluate") / name / a.attribute
    with importing():
        from hspace_exp.evaluation.score import is_foreign, score
    from hspace_exp.evaluation.sources import find_source, write_manifest

    if is_foreign(out):
        raise UserError(f"{out} holds the record of another command: choose another folder with out=…")
    source = find_source(images, Path(a.reference) if a.reference else None)
    started = time.monotonic()
    evaluator = make_evaluator(a)
    found = score(source, evaluator, a.attribute, seed=a.seed, repeats=a.repeats)

    from hspace_exp.evaluation.items import write_judged
    from hspace_exp.evaluation.score import EXPERIMENT
    from hspace_exp.models.devices import resolve_device
    from hspace_exp.results.provenance import describe_device, git_state, versions
    from hspace_exp.results.record import RunRecord
    from hspace_exp.results.write import write_results

    record = RunRecord(
        experiment=EXPERIMENT,
        method=name,
        model="images",
        attribute=a.attribute,
        seed=a.seed,
        metrics=found.metrics,
        per_profession=found.per_profession,
        config={**{k: v for k, v in asdict(a).items() if k not in ("out", "cache", "batch")}, "name": name},
        versions=versions(),
        git=git_state(),
        device=describe_device(resolve_device(a.device)),
        seconds={"evaluation": round(time.monotonic() - started, 2)},
        command=shlex.join(["python", "-m", "hspace_exp", "evaluate", *words]),
        details=found.details,
    )
    write_manifest(out, source.pairs)
    write_judged(out, found.items)
    print(f"{out}\n{write_results(record, source.pairs, out)}")
    return record


def make_evaluator(a: Arguments) -> Evaluator:
    """The judge that was asked for."""
    from hspace_exp.avatars import EMBEDDED
    from hspace_exp.evaluation.evaluators import AvatarEvaluator, PhotoEvaluator
    from hspace_exp.evaluation.person_segmenter import PersonSegmenter
    from hspace_exp.models.devices import resolve_device

    device = str(resolve_device(a.device))
    if a.judge == "avatars":
        return AvatarEvaluator(
            EMBEDDED, labelled=a.labelled, margin=a.margin, repeats=a.repeats, device=device, batch_size=a.batch
        )
    masks = PersonSegmenter(a.persons, a.person_weights or None, device=device) if a.persons else None
    return PhotoEvaluator(
        a.model,
        a.weights,
        margin=a.margin,
        person_masks=masks,
        cache_dir=a.cache,
        repeats=a.repeats,
        device=device,
        batch_size=a.batch,
    )


def main(argv: list[str]) -> int:
    """Parse ``key=value`` arguments and evaluate; returns the exit code: 2 for wrong input, 130 when interrupted."""
    try:
        return command(argv, Arguments, lambda a: run(a, argv), ABOUT)
    except OSError as error:
        print(f"error: cannot use {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
