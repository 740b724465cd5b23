"""Errors that are the user's to fix, each one clear line."""

from __future__ import annotations

import csv
import difflib
import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pydantic import ValidationError

# What libraries raise for files that are missing, damaged or something else.
_UNREADABLE: tuple[type[Exception], ...] = (
    *(ImportError, OSError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError, SyntaxError),
    *(pickle.UnpicklingError, csv.Error),
)


class UserError(ValueError):
    """Wrong input; the message says what was expected, what came and what to do."""


def unknown(kind: str, name: str, choices: Iterable[str]) -> UserError:
    """An unknown name, with the nearest choice and all of them."""
    options = list(choices)
    close = difflib.get_close_matches(name, options, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return UserError(f"unknown {kind} {name!r}.{hint} Choices: {', '.join(options)}")


def _first(error: BaseException) -> str:
    """What the error says that led to this one; kept by no frame, so that what it holds is closed at once."""
    cause = error.__cause__ or error.__context__
    return str(error) if cause is None else _first(cause)


@contextmanager
def getting(what: str, advice: str, *more: type[Exception]) -> Iterator[None]:
    """While a file is fetched or read: what goes wrong, ``more`` too, is told in one line, with what to do.

    Raises UserError: ``what`` cannot be had.
    """
    try:
        yield
    except _UNREADABLE + more as error:
        wrong = error.errors() if isinstance(error, ValidationError) else []
        texts = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in wrong] or [str(error), _first(error)]
        told = "; ".join(dict.fromkeys(" ".join(text.split())[:200] for text in texts if text))
        raise UserError(f"{what} cannot be had ({told}): {advice}") from error
