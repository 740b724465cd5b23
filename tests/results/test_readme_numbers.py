"""Each number in a table of an experiment's README is that of its method and its metric."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean

import pytest

from experiments.replication import ranking
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.results.record import PACKED, RunRecord
from hspace_exp.results.runs import find_runs
from hspace_exp.results.tables.build import merge_seeds
from hspace_exp.results.tables.records import by_row

ROOT = Path(__file__).parents[2]
FULL = ROOT / "tables" / "full" / "avatars"
NUMBER = re.compile(r"(?<![\w.])-?(?:\d*\.\d+|\d+)(?![\w.])")

# What a README calls a metric, or several in a row; "-x" is 1 - x.
METRICS = {
    "deviation ratio": ["deviation_ratio"],
    "deviation ratio, zero-shot judge": ["deviation_ratio"],
    "deviation ratio, supervised probe": ["deviation_ratio_probe"],
    "deviation ratio, three classes": ["deviation_ratio"],
    "deviation ratio, six combinations": ["deviation_ratio"],
    "gender / skin tone alone": ["deviation_ratio_gender", "deviation_ratio_skin_tone"],
    "success": ["success"],
    "success, zero-shot judge": ["success"],
    "success, supervised probe": ["success_probe"],
    "success, zero-shot / probe": ["success", "success_probe"],
    "success, both parts": ["success"],
    "removal rate (probe)": ["flipped"],
    "the same (zero-shot)": ["flipped_clip"],
    "unclear": ["unclear"],
    "success of gender": ["success_gender"],
    "of age": ["success_age"],
    "both parts": ["composition_success"],
    "if independent": ["composition_if_independent"],
    "if parts were independent": ["composition_if_independent"],
    "worst profession": ["success_worst"],
    "worst profession, zero-shot / probe": ["success_worst", "success_worst_probe"],
    "background PSNR (dB)": ["background_psnr"],
    "KID to the unedited images": ["kid"],
    "scene kept": ["scene_kept"],
    "profession kept": ["-entanglement_profession"],
    "age / skin tone changed": ["entanglement_age", "entanglement_skin_tone"],
    "gender / skin tone changed": ["entanglement_gender", "entanglement_skin_tone"],
    "gender / age changed": ["entanglement_gender", "entanglement_age"],
    "entanglement": ["entanglement"],
    "CLIP alignment": ["clip_alignment"],
    "FID to the unedited images": ["fid"],
    "success (background PSNR, dB) at factor": ["success", "background_psnr"],
    "success / background PSNR (dB) / scene kept": ["success", "background_psnr", "scene_kept"],
    "the same three": ["success", "background_psnr", "scene_kept"],
}
# What a README calls a row of the table, where that is not the row's own name.
ROWS = {
    "component_ablation": {
        "`lwim`, whole": "lwim",
        "χ (suppressed cross-attention)": "lwim_no_chi",
        "χ by the margin of places, in all modules, instead of the map": "lwim_margin",
        "L_w (weighted loss)": "lwim_no_weight",
        "m (attenuated h)": "lwim_no_m",
        "low frequencies at inference": "lwim_no_lowfreq",
        "`focused`, whole": "focused",
        "gate": "focused_no_gate",
        "hold": "focused_no_hold",
        "adaptive strength": "focused_no_adaptive",
        "foresight": "focused_no_foresight",
        "release": "focused_no_release",
        "keep": "focused_no_keep",
        "subjects": "focused_no_subjects",
        "all but the last twentieth of the steps": "focused_window",
        "the whole edit": "focused_no_edit",
        "the vectors": "focused_sdid",
    },
    "lwim_readings": {
        "m: ρ = 0, pooled by the maximum": "lwim_full_m",
        "m: pooled by the maximum": "lwim, pool max",
        "m: ρ = 0": "lwim, floor 0",
        "m: masks of zeros and ones": "lwim, soft false",
        "m: none": "lwim_no_m",
        "m: ours, of the deviation from the mean h of neutral runs": (
            "lwim, objective experiments.lwim_readings.ours.Centred"
        ),
        "χ: none": "lwim_no_chi",
        "χ: all modules": "lwim, scope all",
        "χ: all modules, t from 600 on": "lwim, scope all, timesteps [600, 1000]",
        "χ: margin of places, all modules": "lwim_margin",
        "L_w: none": "lwim_no_weight",
        "L_w: β 4": "lwim, β 4",
        "L_w: β 10": "lwim, β 10",
        "L_w: the map alone": "lwim, α 0, β 1",
        "LL: none": "lwim_no_lowfreq",
        "LL: each half of guidance its own": "lwim, branch both",
        "LL: λ .2": "lwim, λ 0.2",
        "LL: λ .5": "lwim, λ 0.5",
        "LL: λ 1": "lwim, λ 1",
        "v: minus the vector of the neutral prompt": "lwim, neutral absent",
        "target: the frozen model's own prediction": "lwim, target model",
    },
    "sensitivity": {"published values": "lwim_margin"},
    "frequency_cutoff": {
        "none": "λ 0",
        "haar": "Haar levels 1",
        "haar_levels2": "Haar levels 2",
        "haar_levels3": "Haar levels 3",
        "fft_quarter": "FFT radius 0.25",
        "fft": "FFT radius 0.5",
        "fft_three_quarters": "FFT radius 0.75",
        "haar_weak": "λ 0.2, Haar levels 1",
        "haar_strong": "λ 0.5, Haar levels 1",
        "haar_current": "Haar levels 1, LL of run current",
    },
}
SAYS_NO_METRIC = ("bar", "strength", "site, rate", "so the part", "straight line explains")
PACKS = ROOT.glob(f"experiments/*/results/{PACKED}")
EXPERIMENTS = sorted({path.parents[1].name for path in PACKS} - {"replication"})  # whose ranking is looked at below

Merged = Mapping[str, Mapping[str, MetricValue]]


@cache
def records_of(experiment: str) -> Mapping[str, Sequence[RunRecord]]:
    """Row of the experiment's table → its records, one a seed."""
    return by_row(find_runs([ROOT / "experiments" / experiment / "results"]))


@cache
def numbers_of(experiment: str) -> Merged:
    """Row of the experiment's table → metric → value over all seeds, and what changed, which has no interval."""
    return {label: {**merge_seeds(records), **changed(records)} for label, records in records_of(experiment).items()}


def changed(records: Sequence[RunRecord]) -> dict[str, MetricValue]:
    """entanglement_<what> → share of images in which it changed; as many are asked for each concept."""
    rows = [row for record in records for row in record.details["entanglement_matrix"].values()]
    return {
        f"entanglement_{what}": MetricValue(fmean(row[what] for row in rows), None, None, len(rows), False)
        for what in (rows[0] if rows else ())
    }


def tables(text: str) -> list[list[list[str]]]:
    """The pipe tables of a page: rows of cells, the rule left out."""
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            found[-1] += [cells] if not set("".join(cells)) <= set(":- ") else []
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def bound(experiment: str, corner: str, row: str, heads: list[str], c: int) -> tuple[list[str], list[str]] | None:
    """Which rows of the table, and which metrics of each, the numbers of a cell are of; None where of none."""
    head, aliases = heads[c], ROWS.get(experiment, {})
    method, _, rest = row.partition(": ")
    if rest in METRICS and experiment == "guidance":
        return [f"{method.strip('`')}, guidance scale {head}"], METRICS[rest]
    if rest in METRICS and experiment == "professions":
        return [f"{method.strip('`')}, measured {head}"], METRICS[rest]
    if swapped := re.fullmatch(r"(DDIM|DPM-Solver\+\+), (\d+) steps", row):
        sampler = {"DDIM": "native", "DPM-Solver++": "dpm"}[swapped[1]]
        return [f"{head.strip('`')}, sampler {sampler}, steps {swapped[2]}"], METRICS[corner]
    whom, _, metric = head.partition(": ")
    if metric in METRICS and experiment == "explicit_prompts":
        return [f"{row.strip('`')}, measured not_{ {'women': 'female', 'men': 'male'}[whom] }"], METRICS[metric]
    if corner in METRICS:  # strength_sweep
        return [f"{row.strip('`')}, factor {float(head):g}"], METRICS[corner]
    if row in METRICS:
        return [head.strip("`")], METRICS[row]
    method, _, metric = head.rpartition(": ")
    if metric not in METRICS:
        return None
    if experiment == "frequency_cutoff":
        known = [found for one in heads[: c + 1] if (found := one.rpartition(": ")[0].strip("`"))]
        return [f"{known[-1]}, {aliases[row.strip('`')]}"], METRICS[metric]
    if swept := re.fullmatch(r"([τβλ]) = (\S+) / (\S+)", row):
        return [f"lwim_margin, {swept[1]} {float(value):g}" for value in swept.groups()[1:]], METRICS[metric]
    if composed := re.fullmatch(r"`(\w+)` (\S+), (\S+)", row):
        return [f"{composed[1]}, strength of female {composed[2]}, strength of old {composed[3]}"], METRICS[metric]
    return [aliases.get(row, aliases.get(row.partition(" (")[0], row.partition(" (")[0].strip("`")))], METRICS[metric]


def wrong_cells(experiment: str, text: str) -> tuple[int, list[str]]:
    """How many numbers were compared, and those that are not what the records say."""
    compared, wrong = 0, []
    for (corner, *heads), *rows in tables(text):
        cells = [
            (row, c, cell) for row, *cells in rows for c, cell in enumerate(cells) if heads[c] not in SAYS_NO_METRIC
        ]
        meant = [bound(experiment, corner, row, heads, c) for row, c, _ in cells]
        for (row, c, cell), found in zip(cells, meant, strict=True):
            numbers = NUMBER.findall(re.sub(r"\[.*?\]", "", cell))
            if found is None or not numbers:
                if any(meant) and any("." in number for number in numbers):
                    wrong.append(f"{row} | {heads[c]}: {cell}, of a metric that this test does not know")
                continue
            labels, metrics = found
            expected = [value(experiment, label, metric) for label in labels for metric in metrics]
            ends = NUMBER.findall("".join(re.findall(r"\[.*?\]", cell)))
            said = [*(e[0] for e in expected), *(end for e in expected for end in e[1:])][: len(expected) + len(ends)]
            compared += len(said)
            if len(numbers) != len(expected) or not all(map(rounds_to, said, [*numbers, *ends])):
                wrong.append(f"{row} | {heads[c]}: {cell}, the records say {said}")
    return compared, wrong


def value(experiment: str, label: str, metric: str) -> tuple[float, float, float]:
    """Value and interval of a metric."""
    found = numbers_of(experiment)[label][metric.removeprefix("-")]
    middle, low, high = (float("nan") if end is None else end for end in (found.value, found.ci_low, found.ci_high))
    return (1 - middle, 1 - high, 1 - low) if metric.startswith("-") else (middle, low, high)


def rounds_to(value: float, text: str) -> bool:
    return abs(value - float(text)) <= 0.5 * 10 ** -len(text.partition(".")[2]) + 1e-9


def readme(experiment: str) -> str:
    return (ROOT / "experiments" / experiment / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_numbers_in_a_readme_follow_from_its_records(experiment: str) -> None:
    compared, wrong = wrong_cells(experiment, readme(experiment))
    assert wrong == []
    assert compared >= 10


@pytest.mark.parametrize(
    ("experiment", "one", "other"),
    [
        ("gender_fairness", "| `sdid` | .061 |", "| `lwim` | .055 |"),  # two methods
        ("age_fairness", ".011 / .017", ".017 / .011"),  # two metrics in one cell
        ("strength_sweep", ".56 (43.1)", ".75 (40.8)"),  # two strengths
        ("sensitivity", ".042 / .010", ".010 / .042"),  # two values of λ
        ("frequency_cutoff", "| .964 | 19.6 |", "| .979 | 19.5 |"),  # two methods in one row
        ("samplers", ".963 / 38.0", ".971 / 37.7"),  # two samplers
    ],
)
def test_a_swapped_number_is_caught(experiment: str, one: str, other: str) -> None:
    text = readme(experiment)
    assert one in text
    swapped = text.replace(one, "\0").replace(other, one).replace("\0", other)
    assert swapped != text
    assert wrong_cells(experiment, swapped)[1]


def test_the_readme_of_four_models_says_what_their_records_do() -> None:
    of, (first, *_) = ranking.found(), tables(readme("replication"))
    (_, *heads), *rows = first
    models = {name: model for model, name in ranking.MODELS.items()}
    assert {row[0].strip("`") for row in rows} == set(ranking.METHODS)
    for method, *cells in rows:
        for head, cell in zip(heads, cells, strict=True):
            found = of[models[head]][method.strip("`")]
            for metric, text in zip(("background_psnr", "entanglement"), cell.split(" / "), strict=True):
                assert rounds_to(ranking.number(found[metric]), text), (method, head, metric)


def test_the_readme_repeats_the_full_table() -> None:
    def cells(text: str) -> dict[tuple[str, str], str]:
        found = {}
        for (corner, *heads), *rows in tables(text):
            if corner == "Method":
                found |= {(row[0], head): cell for row in rows for head, cell in zip(heads, row[1:], strict=True)}
        return found

    shown = cells((ROOT / "README.md").read_text())
    full = {k: v for page in ("rivals", "gender_fairness") for k, v in cells((FULL / f"{page}.md").read_text()).items()}
    assert len(shown) >= 8
    values = {key: cell.split(" [")[0].replace("*", "") for key, cell in full.items()}  # without intervals
    assert {key: values.get(key) for key in shown} == shown
