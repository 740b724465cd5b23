"""Commands of this package: their flags are the fields of a dataclass."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_type_hints

from hspace_exp.config.cli import Cli

A = TypeVar("A")


def command(words: Sequence[str], schema: type[A], run: Callable[[A], object], program: str, about: str) -> int:
    """Run a command whose flags are the fields of a dataclass, each with a default; returns the exit code.

    ``key=value`` stands for the flag, as in the commands that records and model cards tell.
    """

    def work(**given: Any) -> None:
        run(schema(**given))

    hints, own = get_type_hints(schema), inspect.signature(schema)
    flags = [one.replace(kind=one.KEYWORD_ONLY, annotation=hints[name]) for name, one in own.parameters.items()]
    work.__signature__ = own.replace(parameters=flags, return_annotation=None)  # type: ignore[attr-defined]
    app = Cli()
    app.starts(work, help=about)(work)
    told = []
    for word in words:
        key, equals, value = word.partition("=")
        told.append(f"--{key.replace('_', '-')}={value}" if equals and key in hints else word)
    return app.run(told, program)
