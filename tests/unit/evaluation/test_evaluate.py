"""From pairs of images to the numbers of a record, on pictures whose pixels say what they show."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.evaluation.evaluate import Evaluation, Labelled, accuracy_of, evaluate
from hspace_exp.evaluation.features import OpenClipFeatures
from hspace_exp.evaluation.judged import JudgedBatch, Observers, subject_prompt
from hspace_exp.evaluation.metrics.base import ImageMetric, Setting, Share
from hspace_exp.generation.manifest import Pair
from hspace_exp.io.atomic import save_png

SIZE = 32
GENDERS, SCENES = ("female", "male"), ("office", "forest", "beach")
TRUTH = {"nurse": {"female": 0.9, "male": 0.1}, "carpenter": {"female": 0.02, "male": 0.98}}
CONTRACT = {
    *("deviation_ratio", "success", "clip_alignment", "subject_alignment", "fid", "kid", "background_psnr"),
    *("background_ssim", "scene_kept", "entanglement", "bias_amplification", "classifier_accuracy"),
}


def picture(gender: str, scene: str, seed: int) -> np.ndarray:
    """A person in the middle, red level = gender; the scene around, green level = scene; a little noise."""
    rng = np.random.default_rng(seed)
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[..., 1] = 60 * SCENES.index(scene) + 20
    image[8:24, 12:20] = (200 * GENDERS.index(gender) + 20, 0, 255)
    image[..., 2] |= rng.integers(0, 2, (SIZE, SIZE), dtype=np.uint8)
    return image


def persons(images: Tensor) -> Tensor:
    """Where blue is strong."""
    return (images[..., 2] > 200)[:, None]


class PixelJudge:
    """Reads gender and scene off two pixels; ``wrong`` images (by count) get the other gender."""

    margin = 0.0

    def __init__(self, name: str = "clip", wrong: int = 0) -> None:
        """Name it."""
        self.name, self.wrong = name, wrong
        self.attributes: Mapping[str, tuple[str, ...]] = {"gender": GENDERS, "scene": SCENES}

    def judge(self, images: Tensor) -> dict[str, Tensor]:
        """Classify."""
        gender = (images[:, 0, SIZE // 2, SIZE // 2] > 0.5).long().cpu()
        gender[: self.wrong] = 1 - gender[: self.wrong]
        return {"gender": gender, "scene": (images[:, 1, 0, 0] * 255).round().sub(20).div(60).long().cpu()}


class UnsureJudge(PixelJudge):
    """Cannot tell the first four images of a batch."""

    margin = 0.1

    def judge(self, images: Tensor) -> dict[str, Tensor]:
        """Classify."""
        found = super().judge(images)
        found["gender"][:4] = -1
        return found


class ColourClip:
    """Embeds images by mean and deviation of their colours, texts by which words they hold."""

    def encode_images(self, images: Tensor) -> Tensor:
        """(B, 6) unit vectors."""
        return torch.nn.functional.normalize(torch.cat([images.mean((2, 3)), images.std((2, 3))], 1), dim=-1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """(T, 6) unit vectors."""
        rows = [[1.0, float("nurse" in t), float("carpenter" in t), 1.0, float("forest" in t), 0.5] for t in texts]
        return torch.nn.functional.normalize(torch.tensor(rows), dim=-1)


Maker = Callable[..., list[Pair]]


@pytest.fixture
def make_pairs(tmp_path: Path) -> Maker:
    """Pairs of two professions, 8 images each: nurses were women, carpenters men; targets alternate and are met."""

    def make(*, edit: bool = True, fail: int = 0, move: int = 0) -> list[Pair]:
        pairs = []
        for p, profession in enumerate(("nurse", "carpenter")):
            for i in range(8):
                target, scene = GENDERS[i % 2], SCENES[i % 3]
                original = tmp_path / f"original_{profession}_{i}.png"
                edited = tmp_path / f"edited_{profession}_{i}.png" if edit else original
                save_png(original, picture(GENDERS[p], scene, i))
                if edit:
                    shown = GENDERS[1 - i % 2] if i < fail else target
                    save_png(edited, picture(shown, SCENES[(i + 1) % 3] if i < move else scene, i))
                pairs.append(Pair(f"a photo of a {profession}", profession, i, target, 1.0, original, edited))
        return pairs

    return make


Run = Callable[..., Evaluation]


@pytest.fixture
def run(standard_metrics: Mapping[str, ImageMetric]) -> Run:
    """Evaluate with everything there is."""
    labelled = Labelled(torch.from_numpy(np.stack([picture(g, "beach", 0) for g in GENDERS * 3])), GENDERS * 3)

    def run(pairs: Sequence[Pair], **changes: Any) -> Evaluation:
        clip = ColourClip()
        judges = changes.pop("judges", (PixelJudge(), PixelJudge("probe")))
        observers = Observers(judges, clip, OpenClipFeatures(clip), changes.pop("person_masks", persons))
        metrics = {**standard_metrics, **changes.pop("extra", {})}
        options = {"attribute": "gender", "truth": TRUTH, "labelled": labelled, "repeats": 40, "batch_size": 5}
        return evaluate(pairs, metrics, observers, **{**options, **changes})

    return run


class Reddish(Share):
    """Share of images with a red place."""

    heading, digits, by_profession = "Reddish", 1, True

    def observe(self, batch: JudgedBatch) -> Tensor:
        """Whether each has one."""
        return batch.edited[:, 0].amax((1, 2)) > 0.5


class Mistaken(Share):
    """Needs what nobody knows."""

    needs = ("befor",)


def test_a_perfect_edit(make_pairs: Maker, run: Run) -> None:
    found = run(make_pairs())
    assert set(found.metrics) >= CONTRACT
    value = {name: metric.value for name, metric in found.metrics.items()}
    assert value["deviation_ratio"] == value["deviation_ratio_probe"] == 0
    assert value["success"] == value["success_worst"] == value["flipped"] == value["scene_kept"] == 1
    assert value["entanglement"] == 0
    assert value["bias_amplification"] == pytest.approx((0.5 - 0.9 + 0.5 - 0.98) / 2)
    assert value["classifier_accuracy"] == 1
    assert value["background_psnr"] is None
    assert found.metrics["background_psnr"].note.startswith("infinite")
    assert value["background_ssim"] == 1
    assert found.metrics["fid"].note == "openclip features, 16 images bias it upwards: compare at equal N only"
    assert found.metrics["kid"].note == "openclip features"
    assert {name: m.n for name, m in found.metrics.items() if m.n != 16} == {
        "flipped": 8, "flipped_probe": 8, "classifier_accuracy": 6,
    }  # fmt: skip
    headings = [found.metrics[name].heading for name in ("success", "success_probe", "classifier_accuracy", "fid")]
    assert headings == ["Success", "Success (probe)", "Judge accuracy", "FID"]
    assert (found.metrics["fid"].digits, found.metrics["success"].digits) == (2, 3)


def test_where_all_are_asked_for_one_value_no_number_of_even_shares_is_given(make_pairs: Maker, run: Run) -> None:
    pairs = make_pairs()
    some = [pair for pair in pairs if pair.target in ("female", "")]
    uneven = {"deviation_ratio", "deviation_ratio_probe", "bias_amplification"}
    assert set(run(pairs).metrics) - set(run(some).metrics) == uneven
    left_alone = [dataclasses.replace(pair, target="") if pair.target == "male" else pair for pair in pairs]
    assert not uneven & set(run(left_alone).metrics)
    assert not uneven & set(run(left_alone).per_profession[0])
    assert uneven <= set(run([dataclasses.replace(pair, target="") for pair in pairs]).metrics)


def test_the_unedited_model(make_pairs: Maker, run: Run) -> None:
    found = run(make_pairs(edit=False))
    value = {name: metric.value for name, metric in found.metrics.items()}
    assert value["deviation_ratio"] == 1
    assert value["success"] == 0.5
    assert value["flipped"] == value["fid"] == value["entanglement"] == 0
    assert value["bias_amplification"] == pytest.approx((0.1 + 0.02) / 2)
    assert value["background_psnr"] is None


def test_failures_and_moves_are_counted(make_pairs: Maker, run: Run) -> None:
    found = run(make_pairs(fail=2, move=4))
    value = {name: metric.value for name, metric in found.metrics.items()}
    assert value["success"] == 0.75
    assert value["scene_kept"] == 0.5
    assert value["entanglement"] == 0.5
    assert value["flipped"] == 0.75
    assert value["background_psnr"] is not None
    # Half of the images have their scene moved by 60 levels (or 120) of green.
    moves = [60 if (i + 1) % 3 else 120 for i in range(4)]
    mean_square = sum((m / 255) ** 2 for m in moves) / 8 / 3
    assert value["background_psnr"] == pytest.approx(-10 * np.log10(mean_square), abs=1e-4)


def test_order_and_batch_size_change_nothing(make_pairs: Maker, run: Run) -> None:
    pairs = make_pairs(fail=3, move=2)
    shuffled = [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))]
    assert run(shuffled, batch_size=3) == run(pairs, batch_size=16)


def test_rows_of_professions(make_pairs: Maker, run: Run) -> None:
    rows = run(make_pairs(fail=2)).per_profession
    assert [row["profession"] for row in rows] == ["carpenter", "nurse"]
    nurse = rows[1]
    assert nurse["n"] == 8
    assert nurse["counts"] == {"female": 4, "male": 4}
    assert nurse["truth"] == TRUTH["nurse"]
    assert nurse["success"] == 0.75
    assert nurse["bias_amplification"] == pytest.approx(-0.4)
    assert nurse["background_psnr"] is None
    json.dumps(rows, allow_nan=False)


def test_what_is_not_given_is_left_out(make_pairs: Maker, run: Run) -> None:
    found = run(make_pairs(), judges=(PixelJudge(),), person_masks=None, truth=None, labelled=None, repeats=0)
    assert CONTRACT - set(found.metrics) == {
        "background_psnr", "background_ssim", "bias_amplification", "classifier_accuracy",
    }  # fmt: skip
    assert not any(name.endswith("_probe") for name in found.metrics)
    assert found.metrics["success"].ci_low is None


def test_bias_is_over_professions_of_known_truth(make_pairs: Maker, run: Run) -> None:
    found = run(make_pairs(edit=False), truth={"nurse": TRUTH["nurse"]})
    metric = found.metrics["bias_amplification"]
    assert metric.n == 8
    assert metric.value == pytest.approx(0.1)
    assert "bias_amplification" not in found.per_profession[0]
    assert "bias_amplification" not in run(make_pairs(), truth={"baker": {}}).metrics


def test_images_without_target_do_not_count_for_success(make_pairs: Maker, run: Run) -> None:
    pairs = [dataclasses.replace(p, target="") for p in make_pairs()]
    metric = run(pairs).metrics["success"]
    assert (metric.value, metric.n) == (None, 0)


def test_second_judge_speaks_for_itself(make_pairs: Maker, run: Run) -> None:
    found = run(make_pairs(), judges=(PixelJudge(), PixelJudge("probe", wrong=4)), batch_size=16)
    assert found.metrics["success_probe"].value == 0.75
    assert found.metrics["success"].value == 1


def test_a_metric_of_ones_own_is_one_class(make_pairs: Maker, run: Run) -> None:
    found = run(make_pairs(), extra={"reddish": Reddish()})
    shown = found.metrics["reddish"]
    assert (shown.value, shown.heading, shown.digits) == (0.5, "Reddish", 1)
    assert found.per_profession[0]["reddish"] == 0.5
    assert {row["reddish"] for row in found.rows} == {0.0, 1.0}
    with pytest.raises(UserError, match=r"unknown need of the metric 'mine' 'befor'\. Did you mean 'before'"):
        run(make_pairs(), extra={"mine": Mistaken()})


def test_metrics_stay_as_they_are(make_pairs: Maker, run: Run) -> None:
    mine = Reddish()
    assert run(make_pairs(), extra={"reddish": mine}) == run(make_pairs(), extra={"reddish": mine})
    assert mine.result().n == 0


def test_what_is_not_known_of_images_leaves_metrics_out(make_pairs: Maker, run: Run) -> None:
    found = run(make_pairs(), unknown_fields=("before", "background", "texts"))
    assert set(found.metrics) == {
        *(f"{name}{judge}" for name in ("deviation_ratio", "success", "success_worst") for judge in ("", "_probe")),
        "bias_amplification", "classifier_accuracy",
    }  # fmt: skip
    assert "entanglement_matrix" not in found.details


def test_unclear_images_are_counted_and_meet_no_request(make_pairs: Maker, run: Run) -> None:
    found = run(make_pairs(), judges=(UnsureJudge(),), batch_size=16)
    assert found.metrics["unclear"].value == 0.25
    assert found.metrics["success"].value == 0.75
    assert found.metrics["deviation_ratio"].n == 12
    assert {row["clip.gender.after"] for row in found.rows} == {"female", "male", "unclear"}


def test_every_image_has_its_row(make_pairs: Maker, run: Run) -> None:
    found = run(make_pairs(fail=2, move=4), batch_size=3)
    rows = found.rows
    assert [(row["profession"], row["seed_index"]) for row in rows] == sorted(
        (p, i) for p in ("carpenter", "nurse") for i in range(8)
    )
    mean = {n: sum(float(r[n]) for r in rows) / 16 for n in ("success", "clip_alignment", "scene_kept")}
    assert mean == pytest.approx({name: found.metrics[name].value for name in mean}, abs=1e-5)
    assert found.details["entanglement_matrix"]["female"]["scene"] == 0.5
    assert found.details["confusion"]["counts"] == [[3, 0, 0], [0, 3, 0]]
    json.dumps(found.details, allow_nan=False)


def test_judge_accuracy_counts_errors_and_the_unclear() -> None:
    judged, names = torch.tensor([0, 1, -1, 1, 1]), [str(i) for i in range(5)]
    truth, setting = ["female"] * 3 + ["male"] * 2, Setting(("female", "male"), repeats=20)
    metric, confusion = accuracy_of(names, judged, truth, "clip", "gender", setting)
    assert (metric.value, metric.n) == (0.6, 5)
    assert confusion["counts"] == [[1, 1, 1], [0, 2, 0]]
    with pytest.raises(UserError, match=r"unknown gender 'mal'\. Did you mean 'male'"):
        accuracy_of(names, judged, ["mal"] * 5, "clip", "gender", setting)


def test_bad_input_is_one_clear_line(make_pairs: Maker, run: Run) -> None:
    pairs = make_pairs()
    with pytest.raises(UserError, match="nothing to evaluate"):
        run([])
    with pytest.raises(UserError, match=r"attribute of the judge 'clip' 'gendre'\. Did you mean 'gender'"):
        run(pairs, attribute="gendre")
    with pytest.raises(UserError, match=r"target of gender 'mail'\. Did you mean 'male'"):
        run([dataclasses.replace(pairs[0], target="mail")])
    with pytest.raises(UserError, match="listed twice"):
        run([pairs[0], dataclasses.replace(pairs[0], strength=2.0)])
    other = PixelJudge("probe")
    other.attributes = {"gender": GENDERS[::-1]}
    with pytest.raises(UserError, match="same values of gender"):
        run(pairs, judges=(PixelJudge(), other))


@pytest.mark.parametrize(
    ("profession", "prompt"), [("CEO", "a photo of a ceo"), ("attendant", "a photo of an attendant")]
)
def test_subject_prompts(profession: str, prompt: str) -> None:
    assert subject_prompt(profession) == prompt
