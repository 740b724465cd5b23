"""Compositions in the eyes of a judge that reads two numbers off each image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.evaluation.evaluate import Evaluation, evaluate
from hspace_exp.evaluation.features import OpenClipFeatures
from hspace_exp.evaluation.functional.fairness import deviation_ratio
from hspace_exp.evaluation.judged import Observers, item_keys
from hspace_exp.evaluation.judges import CompositionJudge
from hspace_exp.evaluation.metrics.base import ImageMetric, Setting
from hspace_exp.evaluation.metrics.content import CompositionIfIndependent, CompositionSuccess
from hspace_exp.generation.manifest import Pair
from hspace_exp.io.atomic import save_png

GENDERS, TONES, SCENES = ("female", "male"), ("light", "tan", "dark"), ("office", "forest")


class PixelJudge:
    """Reads gender, skin tone and scene off the three colours, in steps of 50; the last step is unclear."""

    margin = 0.0

    def __init__(self, name: str = "clip") -> None:
        """Name it."""
        self.name = name
        self.attributes: Mapping[str, tuple[str, ...]] = {"gender": GENDERS, "skin_tone": TONES, "scene": SCENES}

    def judge(self, images: Tensor) -> dict[str, Tensor]:
        """Classify."""
        steps = (images.mean((2, 3)) * 255 / 50).round().long().cpu()
        steps[steps == 5] = -1
        return dict(zip(self.attributes, steps.T, strict=True))


class ColourClip:
    """Embeds images by their colours."""

    def encode_images(self, images: Tensor) -> Tensor:
        """(B, 3) unit vectors."""
        return torch.nn.functional.normalize(images.mean((2, 3)) + 0.1, dim=-1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """(T, 3) unit vectors."""
        return torch.nn.functional.normalize(torch.ones(len(texts), 3), dim=-1)


Maker = Callable[..., list[Pair]]
Metrics = Mapping[str, ImageMetric]


@pytest.fixture
def make_pairs(tmp_path: Path) -> Maker:
    """Unedited images are female, light, in an office; edited ones show what ``shown`` says of each target."""

    def make(shown: Mapping[str, tuple[int, int, int]], order: Callable[[str], str] = str) -> list[Pair]:
        pairs = []
        for profession in ("nurse", "cook"):
            for i, (target, colours) in enumerate(shown.items()):
                files = [tmp_path / f"{profession}_{i}_{kind}.png" for kind in ("original", "edited")]
                for file, steps in zip(files, ((0, 0, 0), colours), strict=True):
                    save_png(file, np.full((8, 8, 3), np.array(steps, np.uint8) * 50))
                pairs.append(Pair("a photo", profession, i, order(target), 1.0, *files))
        return pairs

    return make


def run(pairs: Sequence[Pair], metrics: Mapping[str, ImageMetric], **changes: object) -> Evaluation:
    clip = ColourClip()
    observers = Observers((PixelJudge(), PixelJudge("probe")), clip, OpenClipFeatures(clip))
    options: dict[str, object] = {"attribute": "gender_skin_tone", "parts": ("gender", "skin_tone"), "repeats": 0}
    return evaluate(pairs, metrics, observers, **{**options, **changes})  # type: ignore[arg-type]


PERFECT = {f"{g}+{t}": (GENDERS.index(g), TONES.index(t), 0) for g in GENDERS for t in TONES}


def test_a_perfect_composition(make_pairs: Maker, standard_metrics: Metrics) -> None:
    found = run(make_pairs(PERFECT), standard_metrics)
    value = {name: metric.value for name, metric in found.metrics.items()}
    for name in ("success", "success_gender", "success_skin_tone", "composition_success", "composition_if_independent"):
        assert value[name] == value[f"{name}_probe"] == 1
    for name in ("deviation_ratio", "deviation_ratio_gender", "deviation_ratio_skin_tone", "entanglement"):
        assert value[name] == 0
    assert found.metrics["flipped"].n == 10  # female+light is there already, in both professions
    assert found.metrics["flipped_gender"].n == 6
    assert {row["clip.gender_skin_tone.after"] for row in found.rows} == set(PERFECT)
    assert found.details["entanglement_matrix"]["male+dark"] == {"gender": 1.0, "skin_tone": 1.0, "scene": 0.0}


def test_each_part_and_all_together_are_counted(make_pairs: Maker, standard_metrics: Metrics) -> None:
    shown = {**PERFECT, "male+light": (0, 0, 0), "male+dark": (1, 1, 1)}  # one loses its gender, one its tone and scene
    found = run(make_pairs(shown), standard_metrics)
    value = {name: metric.value for name, metric in found.metrics.items()}
    assert value["success"] == value["composition_success"] == pytest.approx(4 / 6, abs=1e-6)
    assert value["success_gender"] == value["success_skin_tone"] == pytest.approx(5 / 6, abs=1e-6)
    assert value["composition_if_independent"] == pytest.approx(25 / 36, abs=1e-6)
    assert found.metrics["composition_success"].note.endswith("would give 0.694")
    counts = torch.tensor([2, 1, 1, 0, 2, 0])
    assert value["deviation_ratio"] == pytest.approx(deviation_ratio(counts[None]).item(), abs=1e-6)
    assert value["deviation_ratio_gender"] == pytest.approx(2 * (4 / 6 - 0.5), abs=1e-6)
    assert value["entanglement"] == pytest.approx(1 / 6, abs=1e-6)
    row = found.per_profession[0]
    assert row["counts"]["male+tan"] == 2
    assert row["success_gender"] == pytest.approx(5 / 6, abs=1e-6)


def test_the_order_of_parts_changes_names_only(make_pairs: Maker, standard_metrics: Metrics) -> None:
    shown = {**PERFECT, "male+light": (0, 0, 0), "male+dark": (1, 1, 1)}
    one = run(make_pairs(shown), standard_metrics)
    swapped = make_pairs(shown, lambda target: "+".join(reversed(target.split("+"))))
    other = run(swapped, standard_metrics, attribute="both", parts=("skin_tone", "gender"))
    assert {n: m.value for n, m in one.metrics.items()} == {n: m.value for n, m in other.metrics.items()}


def test_an_unclear_part_makes_the_whole_unclear(make_pairs: Maker, standard_metrics: Metrics) -> None:
    found = run(make_pairs({**PERFECT, "male+dark": (1, 5, 0)}), standard_metrics)
    assert found.metrics["deviation_ratio"].n == 10
    assert found.metrics["deviation_ratio_gender"].n == 12
    assert found.metrics["success"].value == found.metrics["success_skin_tone"].value
    assert found.metrics["success_gender"].value == 1


def test_nothing_asked_for_leaves_success_open(make_pairs: Maker, standard_metrics: Metrics) -> None:
    pairs = [dataclasses.replace(pair, target="") for pair in make_pairs(PERFECT)]
    metrics = run(pairs, standard_metrics).metrics
    assert metrics["composition_success"].n == metrics["success_gender"].n == metrics["success"].n == 0
    assert metrics["deviation_ratio"].n == 12


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (["female+dark"], []),
        (["female+dark", "male+dark"], ["deviation_ratio_gender"]),
        (["female+dark", "male+light"], ["deviation_ratio", "deviation_ratio_gender", "deviation_ratio_skin_tone"]),
    ],
)
def test_of_what_all_are_asked_for_alike_there_is_no_deviation_ratio(
    make_pairs: Maker, standard_metrics: Metrics, asked: list[str], kept: list[str]
) -> None:
    found = run(make_pairs({target: PERFECT[target] for target in asked}), standard_metrics)
    ratios = {name for name in found.metrics if name.startswith("deviation_ratio")}
    assert ratios == {f"{name}{judge}" for name in kept for judge in ("", "_probe")}
    assert found.metrics["success"].value == found.metrics["success_skin_tone_probe"].value == 1
    assert ("deviation_ratio" in found.per_profession[0]) == ("deviation_ratio" in kept)


def test_unknown_parts_and_targets_are_named(make_pairs: Maker, standard_metrics: Metrics) -> None:
    with pytest.raises(UserError, match="Did you mean 'gender'"):
        run(make_pairs(PERFECT), standard_metrics, parts=("gendre", "skin_tone"))
    with pytest.raises(UserError, match=r"target of gender_skin_tone 'male\+drak'\. Did you mean 'male\+dark'"):
        run(make_pairs({"male+drak": (0, 0, 0)}), standard_metrics)


def test_joint_shares_have_intervals_and_equal_their_product_when_independent() -> None:
    random = np.random.default_rng(0)
    hits = torch.from_numpy(random.random((4000, 2)) < [0.9, 0.6])
    keys, groups = item_keys([str(i) for i in range(4000)]), torch.zeros(4000, dtype=torch.int64)
    shown, expected = (make().prepared(Setting(repeats=50)) for make in (CompositionSuccess, CompositionIfIndependent))
    for metric in (shown, expected):
        metric.add(keys, hits, groups)
    one, other = shown.result(), expected.result()
    assert one.value == pytest.approx((hits[:, 0] & hits[:, 1]).double().mean().item(), abs=1e-6)
    assert other.value == pytest.approx(hits.double().mean(0).prod().item(), abs=1e-6)
    assert one.value == pytest.approx(0.54, abs=0.02)
    assert one.ci_low is not None
    assert one.ci_low < other.value < (one.ci_high or 0)


def test_a_judge_of_compositions_knows_its_parts_and_their_combinations() -> None:
    judge = CompositionJudge(PixelJudge(), "both", ("skin_tone", "gender"))
    assert judge.attributes["both"][:3] == ("light+female", "light+male", "tan+female")
    image = torch.zeros(1, 3, 4, 4)
    image[:, 0], image[:, 1] = 50 / 255, 100 / 255
    found = judge.judge(image)
    assert judge.attributes["both"][int(found["both"])] == "dark+male"
    assert (judge.name, judge.margin) == ("clip", 0.0)


def test_compositions_need_everything_at_once() -> None:
    shown, one = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1]]).double(), torch.zeros(4)
    assert CompositionSuccess().statistic(shown, one).item() == 0.5
    assert CompositionIfIndependent().statistic(shown, one).item() == 0.75**2
