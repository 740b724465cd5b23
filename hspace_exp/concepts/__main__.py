"""``python -m hspace_exp concepts``: look at concept files, and exchange them with other projects."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hspace_exp.config.command_line import exit_code
from hspace_exp.errors import UserError
from hspace_exp.io.atomic import write_json


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m hspace_exp concepts",
        description="Look at concept files, and exchange them with other projects.",
    )
    commands = parser.add_subparsers(required=True, metavar="show | import | export | vector-math")

    show = commands.add_parser("show", help="what files hold: model, shape, method, strength")
    show.add_argument("files", nargs="+", type=Path)
    show.add_argument("--json", action="store_true", help="plain data instead of cards")
    show.set_defaults(run=_show)

    take = commands.add_parser("import", help="make concept files of another project's .pt or .pth file")
    take.add_argument("source", type=Path)
    take.add_argument("folder", type=Path, help="where <name>.safetensors and their cards go")
    take.add_argument("--names", type=Path, help='JSON {"name": row or column}; default: as published for the format')
    take.add_argument("--h-shape", nargs=3, type=int, metavar=("C", "H", "W"), help="h of the model they were made for")
    take.add_argument("--model", help="that model's name; default: the one of the format's authors")
    take.add_argument("--revision", default="unknown", help="of that model")
    take.add_argument("--licence", default="unknown", help="of the file; these files state none")
    take.set_defaults(run=_import)

    give = commands.add_parser("export", help="write concept files the way another project reads them")
    give.add_argument("files", nargs="+", type=Path)
    give.add_argument("target", type=Path, help="the .pt or .pth file; <target>.json gets the names")
    give.add_argument(
        "--format", required=True, metavar="concept_emb | fc1", help="of channel vectors, or spatial ones"
    )
    give.set_defaults(run=_export)

    math = commands.add_parser("vector-math", help="add, subtract, orthogonalise and scale; prints cosines")
    math.add_argument("target", type=Path, help="NAME.safetensors, a new file; its card says how it was made")
    math.add_argument("--add", nargs="+", type=Path, required=True)
    for option in ("--subtract", "--orthogonal-to"):
        math.add_argument(option, nargs="+", type=Path, default=[])
    math.add_argument("--scale", type=float, default=1.0)
    math.set_defaults(run=_math)

    asked = parser.parse_args(arguments)
    return exit_code(lambda: asked.run(asked))


def _show(asked: argparse.Namespace) -> None:
    from hspace_exp.concepts.concept import load_concept

    concepts = [load_concept(path) for path in asked.files]
    if not asked.json:
        print("\n".join(concept.card() for concept in concepts), end="")
        return
    plain = [
        {
            "file": str(path),
            **{key: value for key, value in vars(concept).items() if key not in ("vector", "presence", "folder")},
            "kind": concept.kind,
            "shape": list(concept.vector.shape),
            "rms": concept.vector.square().mean().sqrt().item(),
        }
        for path, concept in zip(asked.files, concepts, strict=True)
    ]
    print(json.dumps(plain, indent=1))


def _import(asked: argparse.Namespace) -> None:
    from hspace_exp.concepts.formats import import_concepts

    concepts = import_concepts(
        asked.source,
        names=None if asked.names is None else _names(asked.names),
        h_shape=None if asked.h_shape is None else tuple(asked.h_shape),
        model=asked.model,
        revision=asked.revision,
        licence=asked.licence,
    )
    paths = {name: asked.folder / f"{name}.safetensors" for name in concepts}
    for path in paths.values():
        if path.exists():
            raise UserError(f"{path} is there already: choose another folder")
    for name, path in paths.items():
        print(concepts[name].save(path))


def _export(asked: argparse.Namespace) -> None:
    from hspace_exp.concepts.concept import load_concept
    from hspace_exp.concepts.formats import export_concepts

    names = Path(f"{asked.target}.json")
    for path in (asked.target, names):
        if path.exists():
            raise UserError(f"{path} is there already: choose another file")
    table = export_concepts([load_concept(path) for path in asked.files], asked.target, asked.format)
    write_json(names, table)
    print(f"{asked.target}\n{names}")


def _math(asked: argparse.Namespace) -> None:
    from hspace_exp.concepts.algebra import write

    write(asked.target, asked.add, asked.subtract, asked.orthogonal_to, asked.scale)


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


if __name__ == "__main__":
    sys.exit(main())
