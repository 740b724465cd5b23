"""``hspace-exp concepts``: look at concept files, and exchange them with other projects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hspace_exp.concepts.concept import concept_files, load_concept, load_concepts
from hspace_exp.concepts.formats import export_concepts, import_concepts
from hspace_exp.errors import UserError
from hspace_exp.io.atomic import write_json


def show(files: Sequence[Path], as_json: bool = False) -> None:
    """Print the cards of concept files, or plain data."""
    found = {str(file): load_concept(file) for file in concept_files(files)}
    if not as_json:
        print("\n".join(concept.card() for concept in found.values()), end="")
        return
    plain = [
        {
            "file": path,
            **{key: value for key, value in vars(concept).items() if key not in ("vector", "presence", "folder")},
            "kind": concept.kind,
            "shape": list(concept.vector.shape),
            "rms": concept.vector.square().mean().sqrt().item(),
        }
        for path, concept in found.items()
    ]
    print(json.dumps(plain, indent=1))


def take(source: Path, folder: Path, names: Path | None = None, **options: Any) -> None:
    """Make concept files of another project's file; ``options`` are those of ``import_concepts``."""
    concepts = import_concepts(source, names=None if names is None else _names(names), **options)
    paths = {name: folder / f"{name}.safetensors" for name in concepts}
    for path in paths.values():
        if path.exists():
            raise UserError(f"{path} is there already: choose another folder")
    for name, path in paths.items():
        print(concepts[name].save(path))


def export(files: Sequence[Path], target: Path, form: str) -> None:
    """Write concept files in another project's format, a key of ``formats.FORMATS``."""
    names = Path(f"{target}.json")
    for path in (target, names):
        if path.exists():
            raise UserError(f"{path} is there already: choose another file")
    table = export_concepts([*load_concepts(files).values()], target, form)
    write_json(names, table)
    print(f"{target}\n{names}")


def _names(path: Path) -> Mapping[str, int]:
    """Name -> row or column, from a JSON file; names become file names, so they hold no path."""
    try:
        table = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error})") from error
    if not isinstance(table, dict) or not all(type(row) is int for row in table.values()):
        raise UserError(f'{path} holds no names: expected {{"name": row or column, …}}')
    for name in table:
        if not name or Path(name).name != name:
            raise UserError(f"{path}: {name!r} cannot be the name of a file: rename it")
    return table
