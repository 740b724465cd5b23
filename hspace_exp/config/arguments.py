"""Commands with typed ``key=value`` arguments: help, errors of one line, exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hspace_exp.errors import UserError

A = TypeVar("A")


def command(argv: Sequence[str], schema: type[A], run: Callable[[A], object], about: str) -> int:
    """Parse ``argv`` into ``schema`` and run.

    Args:
        argv: ``key=value`` arguments, or ``--help``.
        schema: a dataclass with a default for every argument.
        run: what to do with it.
        about: shown by ``--help`` above the defaults.

    Returns:
        the exit code: 0, or 2 for wrong input, which is one line on stderr.
    """
    if any(a in ("-h", "--help") for a in argv):
        print(f"{about}\n\n{OmegaConf.to_yaml(OmegaConf.structured(schema))}")
        return 0
    try:
        arguments = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.from_dotlist([*argv])))
        if not isinstance(arguments, schema):
            raise UserError("arguments must be given as key=value")
        run(arguments)
    except (UserError, OmegaConfBaseException) as error:
        print(f"error: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    return 0
