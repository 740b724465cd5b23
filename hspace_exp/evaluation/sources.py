"""What there is to evaluate: a folder of images or a table of them, alone, in pairs, or beside a reference set."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from hspace_exp.errors import UserError, getting
from hspace_exp.evaluation.judged import subject_prompt
from hspace_exp.generation.manifest import COLUMNS, Pair, read_manifest
from hspace_exp.io.rows import read_rows

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
EVERYTHING = "all"
MANIFEST = "manifest.csv"


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
    source = _from_folder(images) if images.is_dir() else _from_table(images)
    if reference is not None:
        source = _with_reference(source, images if images.is_dir() else images.parent, reference)
    for files in ([f for p in source.pairs for f in (p.edited, p.original)], source.reference):
        _check_sizes(list(dict.fromkeys(files)))
    return source


def image_files(folder: Path) -> list[Path]:
    """Image files in and below a folder, sorted. Raises UserError: there is no folder, or no image in it."""
    if not folder.is_dir():
        raise UserError(f"no folder at {folder}")
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
    if not files:
        raise UserError(f"no images in {folder}: expected files named {', '.join(sorted(SUFFIXES))}")
    return files


def _from_folder(folder: Path) -> Source:
    pairs, prompted = [], False
    for i, file in enumerate(image_files(folder)):
        inner = file.relative_to(folder).parts
        profession = inner[0].replace("_", " ") if len(inner) > 1 else EVERYTHING
        prompted = prompted or len(inner) > 1
        pairs.append(Pair(subject_prompt(profession), profession, i, "", 0.0, file, file))
    return Source(tuple(pairs), False, prompted, {})


def _from_table(path: Path) -> Source:
    rows = read_rows(path, (), "give a table of images")
    if all(rows[0].get(column) is not None for column in COLUMNS):
        found = read_manifest(path)
        return Source(tuple(found), any(p.original != p.edited for p in found), True, _truth(found, rows))
    if rows[0].get("image") is None:
        raise UserError(f"{path} lists no images: expected the column 'image', got {', '.join(rows[0])}")
    pairs = []
    for i, row in enumerate(rows):
        profession = row.get("profession") or EVERYTHING
        image = path.parent / row["image"]
        original = path.parent / row["original"] if row.get("original") else image
        prompt = row.get("prompt") or subject_prompt(profession)
        pairs.append(Pair(prompt, profession, i, row.get("target") or "", 0.0, original, image))
    prompted = any(row.get("prompt") or row.get("profession") for row in rows)
    return Source(tuple(pairs), any(p.original != p.edited for p in pairs), prompted, _truth(pairs, rows))


def _truth(pairs: Sequence[Pair], rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {pair.name: row["truth"] for pair, row in zip(pairs, rows, strict=True) if row.get("truth")}


def _with_reference(source: Source, root: Path, reference: Path) -> Source:
    if source.paired:
        raise UserError("these images have unedited partners already: leave reference out")
    partners = {file.relative_to(reference).with_suffix(""): file for file in image_files(reference)}
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
        with getting(str(file), "leave out what is no image"), Image.open(file) as image:
            sizes.setdefault("{} x {}".format(*image.size), file)
    if len(sizes) > 1:
        told = ", ".join(f"{file} is {size}" for size, file in sizes.items())
        raise UserError(f"images are of several sizes ({told} pixels): make them one size first")
