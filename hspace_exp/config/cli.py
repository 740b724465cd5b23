"""Commands whose words typer reads; what they start is imported once these are known to be right."""

from __future__ import annotations

import os
import pkgutil
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import typer

F = TypeVar("F", bound=Callable[..., Any])

WRONG = 2  # exit code
_PAIR = re.compile(r"([+~]*[\w.@]+)=(.*)", re.DOTALL)  # a word of version 0.1
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

    def run(self, words: Sequence[str], program: str, pairs: bool = False) -> int:
        """Do what ``words`` ask for; returns the exit code. ``pairs``: words of version 0.1 are understood, too."""
        tree: Any = typer.main.get_command(self)
        head, given = int(hasattr(tree, "commands")), [*words]  # one command alone has no name
        found = _as_flags(given[head:], tree.commands[given[0]] if head else tree) if pairs else []
        given[head:] = found or given[head:]
        try:
            for word in given:  # bytes of another encoding come as surrogates, which no text file takes
                place = word.partition("=")[2] or word
                if word != word.encode("utf-8", "replace").decode() and not os.path.exists(place):
                    raise typer.BadParameter(f"{word!a:.80} is no text in this system's encoding")
            work = self(given, prog_name=program, standalone_mode=False, obj=tuple(given))
        except _WrongWords as error:
            print(f"error: {' '.join(error.format_message().split())}", file=sys.stderr)
            return WRONG
        if not callable(work):
            return int(work or 0)
        if found:
            print(f"key=value words go with version 0.3; now: {program} {shlex.join(given)}", file=sys.stderr)
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


def _as_flags(words: Sequence[str], command: Any) -> list[str]:
    """``key=value`` words as flags and positionals of a command of typer's; [] where some are others."""
    pairs = [None if os.path.exists(word) else _PAIR.fullmatch(word) for word in words]
    if None in pairs:
        return []
    known = {one.name: one for one in command.params}
    flags: list[str] = []
    places: dict[str, str] = {}
    for key, value in (pair.groups() for pair in pairs if pair):
        option = known.get(key)
        if option is None:
            flags += ["--set", f"{key}={value}"] if "more" in known else [f"--{key}", value]
        elif option.param_type_name == "argument":
            places[key] = _inside(value)
        elif getattr(option, "is_bool_flag", False):
            flags.append((option.opts if value.lower() == "true" else option.secondary_opts)[0])
        elif value not in ("", "null", "[]"):
            values = map(_inside, split_paths(_inside(value))) if option.multiple else [value]
            flags += [word for one in values for word in (option.opts[0], one)]
    return [*flags, *(["--", *(places[name] for name in known if name in places)] if places else [])]


def _path(text: str) -> Path:
    """A path; "" is none, where ``Path`` takes it for the working folder."""
    if not text:
        raise typer.BadParameter("expected a path, got an empty word")
    return Path(text)


def _inside(text: str) -> str:
    """Without the brackets or quotes around it."""
    return text[1:-1].replace("\\'", "'") if f"{text[:1]}{text[1:][-1:]}" in ("[]", "{}", "''", '""') else text
