"""Commands of many runs in few lines: a grid of values is one multirun."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from math import prod


def joined(commands: Sequence[str]) -> list[str]:
    """The fewest commands that make the same runs.

    Commands that set the same keys, and together every combination of their values, become one with ``-m`` and lists of
    values; others stay as they are.

    Args:
        commands: ``python -m hspace_exp key=value …``, each of one run.
    """
    groups: dict[tuple[str, ...], list[list[str]]] = {}
    for command in dict.fromkeys(commands):
        words = shlex.split(command)
        groups.setdefault(tuple(word.partition("=")[0] for word in words), []).append(words)
    lines: list[str] = []
    for keys, found in groups.items():
        values = [list(dict.fromkeys(words[i].partition("=")[2] for words in found)) for i in range(len(keys))]
        grid = prod(map(len, values)) == len(found)
        if len(found) == 1 or not grid or list(keys[:3]) != ["python", "-m", "hspace_exp"]:
            lines += [shlex.join(words) for words in found]
            continue
        several = [f"{key}={','.join(some)}" for key, some in zip(keys[3:], values[3:], strict=True)]
        lines.append(shlex.join([*keys[:3], "-m", *several]))
    return lines
