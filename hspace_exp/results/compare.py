"""``hspace-exp compare``: do two runs differ by more than chance?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import permutation_test

from hspace_exp.errors import UserError, getting, unknown
from hspace_exp.evaluation.functional.fairness import deviation_ratio
from hspace_exp.evaluation.judged_csv import IDENTITY, UNCLEAR, read_judged
from hspace_exp.io.rows import markdown
from hspace_exp.io.seeding import seed_of
from hspace_exp.results.record import read_record

RATIO = "deviation_ratio"
STANDARD = (
    *(RATIO, f"{RATIO}_probe", "success", "clip_alignment", "subject_alignment"),
    *("background_ssim", "scene_kept", "entanglement"),
)

Row = Mapping[str, str]
# (..., N) results of N images to (...) values.
Statistic = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Difference:
    """One metric's values of two runs on the ``n`` images that both judged, and the two-sided p of a paired test."""

    metric: str
    first: float
    second: float
    p: float
    n: int


def compare(
    first: Sequence[Row],
    second: Sequence[Row],
    attribute: str,  # whose deviation ratio is compared
    metrics: Sequence[str],
    *,
    values: Sequence[str] = (),  # all values of the attribute, shown or not; those that are shown count anyway
    repeats: int,  # permutations
    seed: int = 0,
) -> list[Difference]:
    """Test every metric on the images that both runs judged, by their rows of ``judged.csv``.

    Metrics are names of columns, "deviation_ratio" by the first judge, or "deviation_ratio_<judge>"; those that no
    common image has are left out. Raises UserError: no image is in both, or a metric is in neither.
    """
    pairs = _common(first, second)
    if repeats < 1:
        raise UserError(f"expected at least 1 permutation, got {repeats}")
    found = []
    for name in metrics:
        if name.startswith(RATIO):
            a, b, statistic = _ratio(pairs, attribute, values, name.removeprefix(RATIO).removeprefix("_"))
        else:
            a, b, statistic = _numbers(pairs, name)
        if len(a):
            p = _p_value(a, b, statistic, repeats, seed_of("permutation", seed, name))
            found.append(Difference(name, float(statistic(a)), float(statistic(b)), p, len(a)))
    return found


def holm(ps: Sequence[float]) -> list[float]:
    """P-values of several tests at once, corrected by Holm's step-down method (1979); in the order given."""
    order = np.argsort(ps, kind="stable")
    steps = np.minimum(1.0, np.arange(len(ps), 0, -1) * np.asarray(ps)[order])
    corrected: list[float] = np.maximum.accumulate(steps)[np.argsort(order)].tolist()
    return corrected


def _p_value(a: np.ndarray, b: np.ndarray, statistic: Statistic, repeats: int, seed: int) -> float:
    """Two-sided p of a paired permutation test of statistic(a) - statistic(b), by SciPy.

    If both runs were the same, it would not matter which of them a result came from: each image's pair of results is
    swapped with probability ½ (Good, "Permutation, Parametric and Bootstrap Tests", 2005, chapter 3).
    """
    if (a == b).all():
        return 1.0  # SciPy would compare rounding errors

    def difference(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        return statistic(np.moveaxis(x, axis, -1)) - statistic(np.moveaxis(y, axis, -1))

    # Batches of permutations: large for speed, small enough for any memory.
    options = {"permutation_type": "samples", "vectorized": True, "n_resamples": repeats, "batch": 200}
    return float(permutation_test((a, b), difference, **options, rng=np.random.default_rng(seed)).pvalue)


def run(first: Path, second: Path, metrics: str = "", repeats: int = 10_000, seed: int = 0) -> None:
    """Compare two runs by metrics, names joined by commas or the standard ones, and print a table."""
    folders = first, second
    records = [read_record(folder) for folder in folders]
    attributes = [record.attribute for record in records]
    if attributes[0] != attributes[1]:
        raise UserError(f"these runs are about different attributes: {attributes[0]} and {attributes[1]}")
    one, other = (record.config.get("protocol", {}) for record in records)  # images from elsewhere have none
    keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    if one and other and keys:
        raise UserError(f"these runs are of different protocols ({', '.join(keys)}): compare runs of one protocol")
    rows = [read_judged(folder) for folder in folders]
    there = [
        {n for n in record.metrics if n.startswith(RATIO)} | {*own[0]}
        for record, own in zip(records, rows, strict=True)
    ]
    standard = [name for name in STANDARD if all(name in some for some in there)]
    wanted = metrics.split(",") if metrics else standard
    known = [value for record in records for row in record.per_profession for value in row.get("counts", {})]
    found = compare(rows[0], rows[1], attributes[0], wanted, values=known, repeats=repeats, seed=seed)
    corrected = holm([row.p for row in found])
    print(f"| Metric | First | Second | Difference | p | p (Holm) | N |\n| --- |{' ---: |' * 6}")
    for row, adjusted in zip(found, corrected, strict=True):
        numbers = f"{row.first:.4f} | {row.second:.4f} | {row.first - row.second:+.4f}"
        print(f"| {markdown(row.metric)} | {numbers} | {row.p:.4f} | {adjusted:.4f} | {row.n} |")
    print(f"\nPaired permutation test, {repeats} permutations; first: {folders[0]}, second: {folders[1]}.")


def _common(first: Sequence[Row], second: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Rows of the same image: by what was asked for as well, unless one run (the unedited model) asks for nothing."""
    columns = IDENTITY if all(row["target"] for row in (*first, *second)) else IDENTITY[:-1]
    others = {tuple(row[c] for c in columns): row for row in second}
    pairs = [(row, others[key]) for row in first if (key := tuple(row[c] for c in columns)) in others]
    if not pairs:
        raise UserError("no image is in both runs: compare runs of the same professions, prompts and seeds")
    return pairs


def _numbers(pairs: Sequence[tuple[Row, Row]], name: str) -> tuple[np.ndarray, np.ndarray, Statistic]:
    if any(name not in row for row in pairs[0]):
        columns = [n for n in pairs[0][0] if n in pairs[0][1] and n not in IDENTITY and "." not in n]
        raise unknown("metric", name, [RATIO, *columns])
    with getting(f"the column {name}", "evaluate these runs again"):
        both = [(float(a[name]), float(b[name])) for a, b in pairs if a[name] and b[name]]
        values = np.asarray_chkfinite(both, np.float64).reshape(-1, 2)
    return values[:, 0], values[:, 1], lambda numbers: numbers.mean(-1)


def _ratio(
    pairs: Sequence[tuple[Row, Row]], attribute: str, known: Sequence[str], judge: str
) -> tuple[np.ndarray, np.ndarray, Statistic]:
    end = f"{judge}.{attribute}.after"
    column = next((name for name in pairs[0][0] if name.endswith(end) and name in pairs[0][1]), None)
    if column is None:
        raise UserError(f"no {judge or 'judge'} judged {attribute} in these runs: evaluate them again")
    clear = [(a, b) for a, b in pairs if UNCLEAR not in (a[column], b[column])]
    values = sorted({*known, *(row[column] for pair in clear for row in pair)})
    professions = sorted({a["profession"] for a, _ in clear})
    member = np.array([[a["profession"] == profession for profession in professions] for a, _ in clear], np.float64)
    classes = np.array([[values.index(row[column]) for row in pair] for pair in clear]).reshape(-1, 2)

    def statistic(shown: np.ndarray) -> np.ndarray:
        counts = np.stack([(shown == c) @ member for c in range(max(len(values), 2))], axis=-1)
        return deviation_ratio(torch.from_numpy(counts)).mean(-1).numpy()

    return classes[:, 0], classes[:, 1], statistic
