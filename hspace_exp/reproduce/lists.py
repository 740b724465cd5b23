"""Which runs the tables of each protocol are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hspace_exp.errors import UserError, unknown

FAIRNESS = "original,sdid,lwim,focused"
WORLD_ONLY = ("skin_tone_fairness", "intersectional_fairness")  # what only the embedded model draws
PHOTOS_ONLY = ("race_fairness",)


@dataclass(frozen=True)
class Sweep:
    """Runs of one experiment.

    Attributes:
        experiment: name of its file in conf/experiment.
        values: key → comma-separated values, beside or instead of those in the experiment's file.
        seeds: of training; the unedited model has none, and runs once.
        protocol: name of a smaller protocol for this experiment; "" for the one that is asked for.
    """

    experiment: str
    values: Mapping[str, str] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    protocol: str = ""


_METHODS = {"method": FAIRNESS}
_OWN = (
    "h_space_comparison",
    "component_ablation",
    "sensitivity",
    "frequency_cutoff",
    "strength_sweep",
    "scene_consistency",
    "scheduler_swap",
    "intersectional_fairness",
    "composition",
)

LISTS: dict[str, tuple[Sweep, ...]] = {
    # A few runs of every table: does everything work?
    "smoke": (
        Sweep("gender_fairness", _METHODS),
        Sweep("age_fairness", {"method": "original,focused"}),
        Sweep("skin_tone_fairness", {"method": "original,sdid"}),
        Sweep("race_fairness", {"method": "original,sdid"}),
        Sweep("h_space_comparison"),
        Sweep("component_ablation", {"method": "focused,focused_no_gate,focused_no_hold,lwim_no_m"}),
        Sweep("sensitivity", {"+vary": "nothing,lambda_high"}),
        Sweep("frequency_cutoff", {"method": "sdid", "frequency": "none,haar,fft,haar_current"}),
        Sweep("strength_sweep", {"method": "sdid,focused", "method.strength": "1.0,2.0,3.0"}),
        Sweep("scene_consistency", {"method": "original,focused"}),
        Sweep("scheduler_swap", {"method": "original,sdid", "scheduler": "native,swapped"}),
        Sweep("intersectional_fairness", {"method": "original,sdid"}),
        Sweep(
            "composition", {"method": "focused", "method.strength.female": "0.0,2.5", "method.strength.young": "2.5"}
        ),
    ),
    "demo": (
        *(Sweep(f"{name}_fairness", _METHODS) for name in ("gender", "age", "skin_tone", "race")),
        *(Sweep(name) for name in _OWN),
    ),
    # Comparisons of methods at full size; sweeps of one value, of which there are many, on demo's professions.
    "full": (
        Sweep("gender_fairness", _METHODS, seeds=(0, 1, 2)),
        *(Sweep(f"{name}_fairness", {"method": "original,sdid,focused"}) for name in ("age", "skin_tone", "race")),
        Sweep("h_space_comparison"),
        *(Sweep(name, protocol="demo") for name in _OWN[1:]),
    ),
    "paper": (
        *(Sweep(f"{name}_fairness", _METHODS) for name in ("gender", "age", "skin_tone", "race")),
        *(Sweep(name) for name in _OWN),
    ),
}


def sweeps(protocol: str, model: str, experiments: tuple[str, ...] = ()) -> list[Sweep]:
    """The sweeps of a protocol that a model can run.

    Args:
        protocol: a key of ``LISTS``.
        model: ``avatars`` is the embedded one.
        experiments: only these; empty for all.

    Raises:
        UserError: the protocol or an experiment is unknown, or nothing is left.
    """
    if protocol not in LISTS:
        raise unknown("protocol", protocol, LISTS)
    left_out = PHOTOS_ONLY if model == "avatars" else WORLD_ONLY
    known = [sweep.experiment for sweep in LISTS[protocol]]
    for name in experiments:
        if name not in known:
            raise unknown("experiment", name, known)
        if name in left_out:
            raise UserError(f"experiment {name} has nothing to measure on model={model}: choose another model")
    return [
        sweep
        for sweep in LISTS[protocol]
        if sweep.experiment not in left_out and (not experiments or sweep.experiment in experiments)
    ]
