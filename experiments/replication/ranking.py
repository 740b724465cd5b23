"""The ranking of methods on three U-Nets and a transformer: ``results/ranking.md``.

    python experiments/replication/ranking.py

Records are those here, of ../gender_fairness and of ../transformers. Seed 0 counts alone, as two models have no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from scipy.stats import spearmanr
from tabulate import tabulate

from hspace_exp.evaluation.value import MetricValue
from hspace_exp.io.atomic import write_text
from hspace_exp.results.runs import Run, find_runs
from hspace_exp.results.tables import build

HERE = Path(__file__).resolve().parent
MODELS = {"avatars": "shipped", "avatars_seed1": "`seed1`", "avatars_h4": "`h4`", "avatars_dit": "`avatars_dit`"}
METHODS = ["sdid", "sdid_lowfreq", "score_matching", "respodiff", "pca", "h_guidance", "lwim", "focused"]
METRICS = {
    "background_psnr": ("Background PSNR, dB ↑", 1),
    "scene_kept": ("Scene kept ↑", 3),
    "entanglement": ("Entanglement ↓", 3),
    "deviation_ratio": ("Deviation ratio ↓", 3),
    "success": ("Success ↑", 3),
    "clip_alignment": ("CLIP alignment ↑", 1),
}

# Model → method → metrics of its run.
Found = Mapping[str, Mapping[str, Mapping[str, MetricValue]]]


def found() -> Found:
    """Metrics of seed 0 of all methods on all models."""
    places = [HERE.parent / name / "results" for name in ("replication", "gender_fairness", "transformers")]
    runs: Sequence[Run] = find_runs(places)
    own: dict[str, dict[str, Mapping[str, MetricValue]]] = {model: {} for model in MODELS}
    for run in runs:
        if run.record.seed == 0 and run.record.method in METHODS:
            own[run.record.model][run.record.method] = run.record.metrics
    return own


def ranks(of: Found, model: str, metric: str) -> dict[str, int]:
    """Method → its rank, 1 is best."""
    values = {method: of[model][method][metric] for method in METHODS}
    sign = -1 if values[METHODS[0]].higher_is_better else 1
    order = sorted(METHODS, key=lambda method: sign * number(values[method]))
    return {method: 1 + order.index(method) for method in METHODS}


def number(metric: MetricValue) -> float:
    """Its value, which these metrics always have."""
    assert metric.value is not None
    return metric.value


def table(of: Found, metric: str) -> str:
    """One metric: rank, value and interval of each method on each model, and how alike the rankings are."""
    heading, digits = METRICS[metric]
    order = {model: ranks(of, model, metric) for model in MODELS}
    rows = []
    for method in METHODS:
        cells = []
        for model in MODELS:
            m = of[model][method][metric]
            value, ends = build.number(number(m), digits), build.interval(m.ci_low, m.ci_high, digits)
            cells.append(f"{order[model][method]}: {value} [{ends}]")
        rows.append([f"`{method}`", *cells])
    first, *others = ([*own.values()] for own in order.values())
    names = [*MODELS.values()][1:]
    alike = [f"{name} {spearmanr(first, other).statistic:.2f}" for name, other in zip(names, others, strict=True)]
    body = tabulate(rows, [heading, *MODELS.values()], tablefmt="pipe", disable_numparse=True)
    return f"{body}\n\nSpearman's rank correlation with the shipped model's order: {', '.join(alike)}.\n"


def text() -> str:
    """All of it, as Markdown."""
    of = found()
    intro = (
        "# Ranking of methods on three U-Nets and a transformer\n\nRank: value [95 % bootstrap interval over images]; "
        "seed 0, 12 unseen professions × 60 images, each method at the strength\nthat calibration finds on that model. "
        "Settings and sites of `avatars_dit` were tuned there, those of the others on the shipped model.\nMade by "
        "`python experiments/replication/ranking.py`.\n"
    )
    return "\n".join([intro, *(table(of, metric) for metric in METRICS)])


if __name__ == "__main__":
    write_text(HERE / "results" / "ranking.md", text())
