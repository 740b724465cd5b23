"""Commands whose words typer reads; what they start is imported once these are known to be right."""

from __future__ import annotations

import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import typer

F = TypeVar("F", bound=Callable[..., Any])

WRONG = 2  # exit code
_WrongWords: Any = typer.BadParameter.__bases__[0]


class Cli(typer.Typer):
    """Commands, or one alone: signatures whose annotations say what typer reads."""

    def __init__(self, **options: Any) -> None:
        """Take options of ``typer.Typer`` besides those that are the same for all commands here."""
        names = {"help_option_names": ["-h", "--help"]}
        super().__init__(add_completion=False, rich_markup_mode=None, context_settings=names, **options)

    def starts(self, target: str | Callable[..., int | None], **options: Any) -> Callable[[F], F]:
        """Decorate a signature: its values go to ``target``, a function or "module:function", which returns a code.

        ``options`` are those of ``typer.Typer.command``. The target is called when typer is done, which has answers of
        its own to Ctrl-C and closed pipes.
        """

        def decorated(signature: F) -> F:
            @wraps(signature)
            def asked(**given: Any) -> Callable[[], int | None]:
                return lambda: (pkgutil.resolve_name(target) if isinstance(target, str) else target)(**given)

            signature.__annotations__ = get_type_hints(signature, include_extras=True)
            for hint in signature.__annotations__.values():
                for info in getattr(hint, "__metadata__", ()) if "pathlib" in str(hint) else ():
                    info.parser = _path
            self.command(**options)(asked)
            return signature

        return decorated

    def run(self, words: Sequence[str], program: str) -> int:
        """Do what ``words`` ask for; returns the exit code."""
        try:
            for word in words:  # bytes of another encoding come as surrogates, which no text file takes
                place = word.partition("=")[2] or word
                if word != word.encode("utf-8", "replace").decode() and not os.path.exists(place):
                    raise typer.BadParameter(f"{word!a:.80} is no text in this system's encoding")
            work = self([*words], prog_name=program, standalone_mode=False, obj=tuple(words))
        except _WrongWords as error:
            print(f"error: {' '.join(error.format_message().split())}", file=sys.stderr)
            return WRONG
        if not callable(work):
            return int(work or 0)
        from hspace_exp.config.command_line import exit_code

        return exit_code(work)


def split_paths(text: str) -> list[str]:
    """Paths that commas join; commas inside of names that exist, as of ``seed=0,protocol=full``, are left."""
    pieces, found = text.split(","), []
    while pieces:
        ends = (n for n in range(len(pieces), 1, -1) if os.path.exists(",".join(pieces[:n])))
        end = next(ends, 1)
        found.append(",".join(pieces[:end]))
        pieces = pieces[end:]
    return found


def _path(text: str) -> Path:
    """A path; "" is none, where ``Path`` takes it for the working folder."""
    if not text:
        raise typer.BadParameter("expected a path, got an empty word")
    return Path(text)
