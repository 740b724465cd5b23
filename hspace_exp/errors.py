"""Errors that are the user's to fix, each one clear line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Wrong input; the message says what was expected, what came and what to do."""


def unknown(kind: str, name: str, choices: Iterable[str]) -> UserError:
    """An unknown name, with the nearest choice and all of them."""
    options = list(choices)
    close = difflib.get_close_matches(name, options, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return UserError(f"unknown {kind} {name!r}.{hint} Choices: {', '.join(options)}")
