"""Memory of the whole main job at full size, stage by stage, beside what the doctor foretells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.markdown import table
from benchmarks.result_files import Results

# GiB that a model has to fit, by how its name begins.
CARDS = {"sdxl": 24.0, "sd1": 8.0, "sd2": 8.0}
STAGES = ("concepts", "masks", "training", "generation", "evaluation")
TEXT = """Peaks in GiB of tensors; in brackets what PyTorch had taken from the GPU up to then, with freed blocks, which
it gives back before it fails. All runs share a process. The CUDA context, some 0.5 GiB, comes on top. *Foretold* is
`benchmarks/memory.py`, the context counted, as it was when this was measured. *Fits* compares the tensors of the
largest stage plus 0.5 GiB with 8 GiB (Stable Diffusion 1.x, 2.x) or 24 GiB (XL); only a run with `--limit-gib` proves
it, as blocks that no tensor fits into count there, too.
"""
_CONTEXT = 0.5


def memory_section(results: Sequence[Results]) -> str:
    """Markdown of each file's table; empty without one."""
    parts = []
    for one in results:
        limit = one.made.get("limit_gib")
        limited = f", PyTorch limited to {limit:g} GiB" if limit else ""
        seconds = "\n".join(_seconds(job) for job in one.jobs)
        parts += [f"{one.made['device']}, commit {one.commit}{limited}.\n", _table(one.jobs, limit), f"{seconds}\n"]
    return "\n".join([TEXT, *parts]) if parts else ""


def _table(jobs: Sequence[Mapping[str, Any]], limit: float | None) -> str:
    rows = []
    for job in jobs:
        stages, estimate = job["stages"], job.get("estimate_gib")  # transformers have none
        foretold = dict.fromkeys(("training", "generation"), "-")
        if estimate is not None:
            foretold["training"] = f"{estimate['training'] + estimate.get('kept', 0.0):.1f}"
            foretold["generation"] = f"{max(estimate['generation'], estimate['decoding']):.1f}"
        cells = []
        for name in STAGES:
            cells.append(_peak(stages.get(name, {})))
            if name in foretold:
                cells.append(foretold[name])
        rows.append((f"{job['model']}, {job['method']}", *cells, _fits(job, limit)))
    head = [part for name in STAGES for part in ((name, "foretold") if name in ("training", "generation") else (name,))]
    return table(("", *head, "fits"), rows)


def _peak(stage: Mapping[str, Any]) -> str:
    return f"{stage['peak_gib']:.1f} ({stage['reserved_gib']:.1f})" if stage.get("peak_gib") is not None else "-"


def _fits(job: Mapping[str, Any], limit: float | None) -> str:
    peaks = [stage["peak_gib"] for stage in job["stages"].values() if stage.get("peak_gib") is not None]
    card = next((size for start, size in CARDS.items() if job["model"].startswith(start)), None)
    if job.get("error"):
        return f"failed: {job['error']}"
    if not peaks or card is None:
        return "-"
    if limit and limit <= card:
        return f"ran in {limit:g} GiB"
    return f"{card:g} GiB" if max(peaks) + _CONTEXT <= card else f"**not {card:g} GiB**"


def _seconds(job: Mapping[str, Any]) -> str:
    spent = ", ".join(f"{name} {stage['seconds']:.0f}" for name, stage in job["stages"].items() if stage["seconds"] > 0)
    return f"- {job['model']}, {job['method']}, seconds (`protocol=smoke`): {spent}"
