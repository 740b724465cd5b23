"""What there is to evaluate: a folder of images or a table of them, alone, in pairs, or beside a reference set."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image
from PIL.ExifTags import Base

from hspace_exp.errors import UserError, getting
from hspace_exp.evaluation.judged import EVERYTHING, subject_prompt
from hspace_exp.generation.manifest import COLUMNS, Pair, read_manifest
from hspace_exp.io.rows import read_rows

log = logging.getLogger(__name__)

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
MANIFEST = "manifest.csv"
TABLE = ("image", "profession", "prompt", "target", "truth", "original")  # columns of a table of images


@dataclass(frozen=True)
class Source:
    """Images to evaluate."""

    pairs: tuple[Pair, ...]  # an image without a partner is its own unedited image
    paired: bool  # whether images have unedited partners
    prompted: bool  # whether prompts or professions are known, so that alignment means something
    # value of the attribute that each image is known to show, by `Pair.name`; empty where unknown
    truth: Mapping[str, str]
    reference: tuple[Path, ...] = ()  # images to compare with as a set; empty where there is none


def find_source(images: Path, reference: Path | None) -> Source:
    """Read what the command was given.

    Images are a folder (its subfolders are professions), a run's folder or its ``manifest.csv``, or a CSV table with
    the column ``image`` and, where known, ``profession``, ``prompt``, ``target``, ``truth`` and ``original``. If the
    folder ``reference`` holds files of the same names, images are paired; if of no same name, it is a set. Raises
    UserError: something is missing, no image is there, or sizes differ.
    """
    if not images.exists():
        raise UserError(f"no such file or folder: {images}")
    if images.is_dir() and (images / MANIFEST).exists():
        images = images / MANIFEST
    source = _from_folder(images, reference) if images.is_dir() else _from_table(images)
    if reference is not None:
        source = _with_reference(source, images if images.is_dir() else images.parent, reference)
    for files in ([f for p in source.pairs for f in (p.edited, p.original)], source.reference):
        _check_sizes(list(dict.fromkeys(files)))
    return source


def image_files(folder: Path, aside: Path | None = None) -> list[Path]:
    """Image files in and below a folder, sorted; hidden ones and those of a folder ``aside`` are left out, and said.

    Raises UserError: there is no folder, or no image in it.
    """
    if not folder.is_dir():
        raise UserError(f"no folder at {folder}")
    every = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
    out = {f for f in every if any(part.startswith(".") for part in f.relative_to(folder).parts)}
    if aside is not None and folder.resolve() in aside.resolve().parents:
        out |= {f for f in every if f.resolve().is_relative_to(aside.resolve())}
    files = [f for f in every if f not in out]
    if out:
        log.warning("left out are %d images that are hidden or of the other set, e.g. %s", len(out), min(out))
    if not files:
        raise UserError(f"no images in {folder}: expected files named {', '.join(sorted(SUFFIXES))}")
    return files


def _from_folder(folder: Path, reference: Path | None) -> Source:
    pairs = []
    for i, file in enumerate(image_files(folder, reference)):
        inner = file.relative_to(folder).parts
        profession = inner[0].replace("_", " ") if len(inner) > 1 else EVERYTHING
        pairs.append(Pair(subject_prompt(profession), profession, i, "", 0.0, file, file))
    return _source(pairs, [{}] * len(pairs))


def _from_table(path: Path) -> Source:
    rows = read_rows(path, (), "give a table of images", absent="")
    if all(rows[0].get(column) is not None for column in COLUMNS):
        pairs = read_manifest(path)
        return _source(pairs, rows)
    rows = [{name.strip().lower(): (cell or "").strip() for name, cell in row.items()} for row in rows]
    if "image" not in rows[0]:
        raise UserError(f"{path} lists no images: expected the column 'image', got {', '.join(rows[0])}")
    if others := [name for name in rows[0] if name not in TABLE]:
        log.warning("columns of %s that are not used: %s; known are %s", path, ", ".join(others), ", ".join(TABLE))
    pairs = []
    for i, row in enumerate(rows):
        cell = {name: row.get(name, "") for name in TABLE}
        if not cell["image"]:
            raise UserError(f"row {i + 1} of {path} names no image: fill it in, or take it out")
        profession, image = cell["profession"] or EVERYTHING, path.parent / cell["image"]
        original = path.parent / (cell["original"] or cell["image"])
        prompt = cell["prompt"] or subject_prompt(profession)
        pairs.append(Pair(prompt, profession, i, cell["target"], 0.0, original, image))
    return _source(pairs, rows)


def _source(pairs: Sequence[Pair], rows: Sequence[Mapping[str, str]]) -> Source:
    without = sum(not pair.prompt for pair in pairs)
    if 0 < without < len(pairs):
        log.warning("%d of %d images have no prompt: they do not count in alignments", without, len(pairs))
    paired = any(pair.original != pair.edited for pair in pairs)
    truth = {pair.name: row["truth"] for pair, row in zip(pairs, rows, strict=True) if row.get("truth")}
    return Source(tuple(pairs), paired, without < len(pairs), truth)


def _with_reference(source: Source, root: Path, reference: Path) -> Source:
    if source.paired:
        raise UserError("these images have unedited partners already: leave reference out")
    partners = {file.relative_to(reference).with_suffix(""): file for file in image_files(reference, root)}
    names = [Path(os.path.relpath(pair.edited, root)).with_suffix("") for pair in source.pairs]
    absent = [name for name in names if name not in partners]
    if len(absent) == len(names):
        return replace(source, reference=tuple(partners.values()))
    if absent:
        advice = "for pairs give a folder with the same file names, for a comparison of sets one without"
        raise UserError(f"{reference} lacks {len(absent)} of {len(names)} images, e.g. {absent[0]}: {advice}")
    pairs = tuple(replace(pair, original=partners[name]) for pair, name in zip(source.pairs, names, strict=True))
    return replace(source, pairs=pairs, paired=True)


def _check_sizes(files: Sequence[Path]) -> None:
    sizes: dict[str, Path] = {}
    for file in files:
        sizes.setdefault("{} x {}".format(*_size(file)), file)
    if len(sizes) > 1:
        told = ", ".join(f"{file} is {size}" for size, file in sizes.items())
        raise UserError(f"images are of several sizes ({told} pixels): make them one size first")


def _size(file: Path) -> tuple[int, int]:
    """Width and height as an image is seen. Raises UserError: it is none, or larger than PIL holds for safe."""
    with warnings.catch_warnings(), getting(str(file), "leave out what is no image, or too large", Exception):
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file) as image:
            turned = "exif" in image.info and image.getexif().get(Base.Orientation, 1) > 4
            return image.size[::-1] if turned else image.size
