"""From pairs of images to the numbers of a record, on pictures whose pixels say what they show."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.evaluation.accuracy import Labelled, judge_accuracy
from hspace_exp.evaluation.evaluate import Evaluation, evaluate
from hspace_exp.evaluation.measure import Measure
from hspace_exp.evaluation.metrics import Share
from hspace_exp.evaluation.seen import subject_prompt
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


def run(pairs: Sequence[Pair], **changes: object) -> Evaluation:
    """Evaluate with everything there is."""
    labelled = Labelled(torch.from_numpy(np.stack([picture(g, "beach", 0) for g in GENDERS * 3])), GENDERS * 3)
    options: dict[str, object] = {
        "attribute": "gender", "judge": PixelJudge(), "clip": ColourClip(), "second_judge": PixelJudge("probe"),
        "person_masks": persons, "truth": TRUTH, "labelled": lambda: labelled, "repeats": 40, "batch_size": 5,
    }  # fmt: skip
    return evaluate(pairs, **{**options, **changes})  # type: ignore[arg-type]


def test_a_perfect_edit(make_pairs: Maker) -> None:
    found = run(make_pairs())
    assert set(found.metrics) >= CONTRACT
    value = {name: metric.value for name, metric in found.metrics.items()}
    assert value["deviation_ratio"] == value["deviation_ratio_probe"] == 0
    assert value["success"] == value["success_worst"] == value["flipped"] == value["scene_kept"] == 1
    assert value["entanglement"] == value["entanglement_scene"] == 0
    assert value["bias_amplification"] == pytest.approx((0.5 - 0.9 + 0.5 - 0.98) / 2)
    assert value["classifier_accuracy"] == value["judge_agreement"] == 1
    assert value["background_psnr"] is None
    assert found.metrics["background_psnr"].note.startswith("infinite")
    assert value["background_ssim"] == 1
    assert value["change_inside"] == 1
    assert value["background_feature_distance"] == pytest.approx(0, abs=1e-6)
    assert value["subject_feature_distance"] > 0
    assert found.metrics["fid"].note == "openclip features, 16 images bias it upwards: compare at equal N only"
    assert found.metrics["kid"].note == "openclip features"
    assert {name: m.n for name, m in found.metrics.items() if m.n != 16} == {
        "flipped": 8, "flipped_probe": 8, "classifier_accuracy": 6, "change_inside": 8,
        "background_psnr_flipped": 8, "background_ssim_flipped": 8,
        "background_psnr_unflipped": 8, "background_ssim_unflipped": 8,
    }  # fmt: skip


def test_the_unedited_model(make_pairs: Maker) -> None:
    found = run(make_pairs(edit=False))
    value = {name: metric.value for name, metric in found.metrics.items()}
    assert value["deviation_ratio"] == 1
    assert value["success"] == 0.5
    assert value["flipped"] == value["fid"] == value["entanglement"] == 0
    assert value["bias_amplification"] == pytest.approx((0.1 + 0.02) / 2)
    assert value["background_psnr"] is None
    assert value["background_feature_distance"] == 0
    assert (value["change_inside"], value["subject_psnr"]) == (None, None)
    assert value["background_psnr_flipped"] is None
    assert found.metrics["background_psnr_flipped"].n == 0


def test_failures_and_moves_are_counted(make_pairs: Maker) -> None:
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


def test_order_and_batch_size_change_nothing(make_pairs: Maker) -> None:
    pairs = make_pairs(fail=3, move=2)
    shuffled = [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))]
    assert run(shuffled, batch_size=3) == run(pairs, batch_size=16)


def test_rows_of_professions(make_pairs: Maker) -> None:
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


def test_what_is_not_given_is_left_out(make_pairs: Maker) -> None:
    found = run(make_pairs(), second_judge=None, person_masks=None, truth=None, labelled=None, repeats=0)
    assert CONTRACT - set(found.metrics) == {
        "background_psnr", "background_ssim", "bias_amplification", "classifier_accuracy",
    }  # fmt: skip
    assert not any(name.endswith("_probe") for name in found.metrics)
    assert found.metrics["success"].ci_low is None


def test_bias_is_over_professions_of_known_truth(make_pairs: Maker) -> None:
    found = run(make_pairs(edit=False), truth={"nurse": TRUTH["nurse"]})
    metric = found.metrics["bias_amplification"]
    assert metric.n == 8
    assert metric.value == pytest.approx(0.1)
    assert "bias_amplification" not in found.per_profession[0]
    assert "bias_amplification" not in run(make_pairs(), truth={"baker": {}}).metrics


def test_images_without_target_do_not_count_for_success(make_pairs: Maker) -> None:
    pairs = [dataclasses.replace(p, target="") for p in make_pairs()]
    metric = run(pairs).metrics["success"]
    assert (metric.value, metric.n) == (None, 0)


def test_second_judge_speaks_for_itself(make_pairs: Maker) -> None:
    found = run(make_pairs(), second_judge=PixelJudge("probe", wrong=4), batch_size=16)
    assert found.metrics["judge_agreement"].value == 0.75
    assert found.metrics["success_probe"].value == 0.75
    assert found.metrics["success"].value == 1


def test_measures_can_be_added(make_pairs: Maker) -> None:
    reddish = Measure(Share(repeats=20), lambda seen: (seen.keys, seen.edited[:, 0].amax((1, 2)) > 0.5), True)
    found = run(make_pairs(), extra={"reddish": reddish})
    assert found.metrics["reddish"].value == 0.5


def test_unclear_images_are_counted_and_meet_no_request(make_pairs: Maker) -> None:
    found = run(make_pairs(), judge=UnsureJudge(), batch_size=16, second_judge=None)
    assert found.metrics["unclear"].value == 0.25
    assert found.metrics["success"].value == 0.75
    assert found.metrics["deviation_ratio"].n == 12
    assert {row["clip.gender.after"] for row in found.items} == {"female", "male", "unclear"}


def test_every_image_has_its_row(make_pairs: Maker) -> None:
    found = run(make_pairs(fail=2, move=4), batch_size=3)
    rows = found.items
    assert [(row["profession"], row["seed_index"]) for row in rows] == sorted(
        (p, i) for p in ("carpenter", "nurse") for i in range(8)
    )
    mean = {n: sum(float(r[n]) for r in rows) / 16 for n in ("success", "clip_alignment", "scene_kept")}
    assert mean == pytest.approx({name: found.metrics[name].value for name in mean}, abs=1e-5)
    assert found.details["entanglement_matrix"]["female"]["scene"] == 0.5
    assert found.details["confusion"]["counts"] == [[3, 0, 0], [0, 3, 0]]
    json.dumps(found.details, allow_nan=False)


def test_a_perfect_judge_needs_no_correction_and_combinations_have_their_own_ratio(make_pairs: Maker) -> None:
    found = run(make_pairs(fail=3), intersections=[("gender", "scene")])
    value = {name: metric.value for name, metric in found.metrics.items()}
    assert value["deviation_ratio_corrected"] == value["deviation_ratio"] == value["parity_gap"] > 0
    assert value["total_variation"] == pytest.approx(value["deviation_ratio"] / 2)
    assert 0 < value["deviation_ratio_gender_x_scene"] < 1


def test_judge_accuracy_counts_errors() -> None:
    labelled = Labelled(torch.from_numpy(np.stack([picture("male", "beach", i) for i in range(4)])), ["male"] * 4)
    found = judge_accuracy(PixelJudge(wrong=1), "gender", labelled, repeats=20)
    assert (found.metric.value, found.metric.n) == (0.75, 4)
    assert found.confusion.tolist() == [[0, 0, 0], [1, 3, 0]]
    with pytest.raises(UserError, match=r"unknown gender 'mal'\. Did you mean 'male'"):
        judge_accuracy(PixelJudge(), "gender", dataclasses.replace(labelled, values=["mal"] * 4))


def test_bad_input_is_one_clear_line(make_pairs: Maker) -> None:
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
        run(pairs, second_judge=other)


@pytest.mark.parametrize(
    ("profession", "prompt"), [("CEO", "a photo of a ceo"), ("attendant", "a photo of an attendant")]
)
def test_subject_prompts(profession: str, prompt: str) -> None:
    assert subject_prompt(profession) == prompt
