"""Commands as results quote them: what to type again, without where one machine keeps its files."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePath


def command(module: str, words: Sequence[str]) -> str:
    """``python -m module words``; what ``--out`` names is told from benchmarks/results on."""
    plain = [_result(word) if before == "--out" else word for before, word in pairwise(["", *words])]
    return shlex.join(["python", "-m", module, *plain])


def _result(path: str) -> str:
    return f"benchmarks/results/{PurePath(path).name}"
