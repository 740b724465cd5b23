"""``hspace-exp concepts``: look at concept files, and exchange them with other projects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import StrictInt, TypeAdapter

from hspace_exp.concepts.concept import Concept, concept_files, load_concept, load_concepts
from hspace_exp.errors import UserError, getting
from hspace_exp.io.atomic import write_json

_NOT_SAID = ("vector", "presence", "folder", "used")


def show(files: Sequence[Path], as_json: bool = False) -> None:
    """Print the cards of concept files, or plain data."""
    found = {str(file): _looked_at(file) for file in concept_files(files)}
    if not as_json:
        print("\n".join(concept.card() for concept in found.values()), end="")
        return
    plain = []
    for path, concept in found.items():
        said = {key: value for key, value in vars(concept).items() if key not in _NOT_SAID}
        shape = list(concept.vector.shape)
        plain.append({"file": path, **said, "kind": concept.kind, "shape": shape, "rms": concept.rms})
    print(json.dumps(plain, indent=1))


def _looked_at(file: Path) -> Concept:
    """A concept without torch, where NumPy knows its numbers."""
    with suppress(UserError):
        return load_concept(file, "np")
    return load_concept(file)


def take(source: Path, folder: Path, names: Path | None = None, **options: Any) -> None:
    """Make concept files of another project's file; ``options`` are those of ``import_concepts``."""
    from hspace_exp.concepts.formats import import_concepts  # imports torch, which showing does without

    concepts = import_concepts(source, names=None if names is None else _names(names), **options)
    paths = {name: folder / f"{name}.safetensors" for name in concepts}
    for path in paths.values():
        if path.exists():
            raise UserError(f"{path} is there already: choose another folder")
    for name, path in paths.items():
        print(concepts[name].save(path))


def export(files: Sequence[Path], target: Path, form: str) -> None:
    """Write concept files in another project's format, a key of ``formats.FORMATS``."""
    from hspace_exp.concepts.formats import export_concepts

    names = Path(f"{target}.json")
    for path in (target, names):
        if path.exists():
            raise UserError(f"{path} is there already: choose another file")
    write_json(names, export_concepts(load_concepts(files), target, form))
    print(f"{target}\n{names}")


def _names(path: Path) -> Mapping[str, int]:
    """Name -> row or column, from a JSON file."""
    with getting(f"the names in {path}", 'give a file of {"name": row or column, …}'):
        return TypeAdapter(dict[str, StrictInt]).validate_json(path.read_bytes())
