"""What the page shows, on the tiny pipeline: no gradio is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from hspace_exp.concepts.concept import Concept, load_concept
from hspace_exp.errors import UserError
from hspace_exp.io.progress import LISTENER, track
from hspace_exp.models.backbone import Backbone, load_backbone
from hspace_exp.pipeline.train_concept import train_concept
from hspace_studio.opening import Opened, file_name
from hspace_studio.session import DRAFT_STEPS, KEPT, Asked, Session

# Of diffusers' DPM scheduler, with this NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PROMPT = "a photo of a nurse"
ASKED = Asked(PROMPT, "smiling", 2.0, seed=3, steps=2, guidance=6.0)
PERSON = "a photo of a person"


def concept(backbone: Backbone, name: str, attribute: str, text: str, **more: Any) -> Concept:
    """A random vector, as large as h itself is."""
    vector = 3 * torch.randn(backbone.h_shape, generator=torch.Generator().manual_seed(len(name)))
    prompts = {"positive": f"a photo of a {text}", "neutral": PERSON, "words": text.removesuffix(" person")}
    given = {"method": "focused", "hyperparameters": {"branch": "conditional"}, "presence": vector / 3, **more}
    return Concept(
        vector, name, attribute, backbone.name, backbone.revision, backbone.h_shape, prompts=prompts, **given
    )


@pytest.fixture
def concepts(tiny_backbone: Backbone) -> dict[str, Concept]:
    plain = {"method": "sdid", "presence": None}
    found = [
        concept(tiny_backbone, "smiling", "expression", "smiling person"),
        concept(tiny_backbone, "female", "gender", "woman", **plain, hyperparameters={"strength": 3.0}),
        concept(tiny_backbone, "male", "gender", "man", **plain),
    ]
    return {one.name: one for one in found}


@pytest.fixture
def session(tiny_backbone: Backbone, concepts: dict[str, Concept]) -> Session:
    return Session(tiny_backbone, concepts)


class Brightness:
    """Reads "female" in images whose mean is above a bound, "unclear" within a hundredth of it."""

    name, margin = "brightness", 0.01

    def __init__(self, bound: float) -> None:
        """Take the bound, in [0, 1]."""
        self.bound = bound
        self.attributes = {"gender": ("female", "male")}

    def judge(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Class of each image."""
        means = images.mean((1, 2, 3))
        return {"gender": torch.where((means - self.bound).abs() < self.margin, -1, (means < self.bound).long())}


@contextmanager
def counted(session: Session) -> Iterator[list[int]]:
    """Rows of each call of the U-Net."""
    rows: list[int] = []
    handle = session.backbone.unet.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    yield rows
    handle.remove()


def pipeline_image(folder: Path, seed: int, steps: int = 2) -> np.ndarray:
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    noise = torch.Generator().manual_seed(seed)
    return np.asarray(pipe(PROMPT, generator=noise, num_inference_steps=steps, guidance_scale=6.0).images[0])


@pytest.mark.parametrize("name", ["smiling", "female"])
def test_strength_0_is_what_the_pipeline_itself_makes(session: Session, tiny_folder: Path, name: str) -> None:
    shown = session.look(replace(ASKED, concept=name, strength=0.0))
    np.testing.assert_array_equal(shown.after, shown.before)
    np.testing.assert_array_equal(shown.before[0], pipeline_image(tiny_folder, 3))
    assert shown.targets == ("",)
    edited = session.look(replace(ASKED, concept=name))
    np.testing.assert_array_equal(edited.before, shown.before)
    assert edited.changed == [True]
    assert edited.targets == (name,)


def test_the_unedited_run_is_kept_between_moves(session: Session) -> None:
    with counted(session) as calls:
        session.look(ASKED)
        assert calls == [2, 2, 2, 2]  # unedited, then edited
        session.look(replace(ASKED, strength=1.0))
        assert calls[4:] == [2, 2]
        session.look(ASKED)
        session.look(replace(ASKED, strength=0.0))
        assert len(calls) == 6  # both are there
        session.look(replace(ASKED, seed=4))
        assert len(calls) == 10
        session.look(
            replace(ASKED, concept="female")
        )  # plain: the unedited image is there, and nothing is read from it
        assert len(calls) == 12


def test_a_prepared_move_runs_the_edit_alone(session: Session) -> None:
    asked = replace(ASKED, steps=DRAFT_STEPS + 2)
    session.look(asked)
    session.prepare(asked)
    with counted(session) as calls:
        session.prepare(asked)
        assert calls == []
        made, _ = session.look_ahead(replace(asked, strength=1.0))
    assert (made.steps, len(calls)) == (DRAFT_STEPS, DRAFT_STEPS)


def test_a_draft_gives_way_to_the_finished_picture(session: Session) -> None:
    asked = replace(ASKED, steps=DRAFT_STEPS + 1)
    made, draft = session.look_ahead(asked)
    assert made == replace(asked, steps=DRAFT_STEPS)
    finished = session.look(asked)
    assert (finished.after != draft.after).any()
    made, shown = session.look_ahead(asked)  # as after the slider was let go
    assert made == asked
    np.testing.assert_array_equal(shown.after, finished.after)


def test_what_is_kept_has_a_bound(session: Session) -> None:
    for seed in range(KEPT + 2):
        session.look(replace(ASKED, seed=seed, steps=1))
    assert len(session._kept) == len(session._finished) == KEPT
    with counted(session) as calls:
        session.look(replace(ASKED, seed=0, steps=1))
        assert len(calls) == 2  # forgotten, and made again
        session.look(replace(ASKED, seed=KEPT + 1, steps=1, strength=1.0))
        assert len(calls) == 3


def test_a_prompt_that_names_the_attribute_is_left_alone(session: Session) -> None:
    shown = session.look(replace(ASKED, concept="female", prompt="a photo of a woman"))
    assert shown.named == ("woman",)
    assert shown.targets == ("",)
    np.testing.assert_array_equal(shown.after, shown.before)
    other = session.look(replace(ASKED, prompt="a photo of a woman"))  # names no expression
    assert (other.named, other.changed) == ((), [True])


def test_a_gate_is_shown_where_the_method_has_one(session: Session) -> None:
    gate = session.look(ASKED).gate
    assert gate is not None
    assert gate.shape == (1, 4, 4)
    assert 0 <= gate.min() <= gate.max() == 1  # the peak of attention is always inside
    assert session.look(replace(ASKED, concept="female")).gate is None


@pytest.mark.parametrize(
    ("change", "native"),
    [
        ({}, True),
        ({"concept": "female", "guidance": 1.0}, True),
        ({"scheduler": "dpm", "strength": -1.0}, False),
        ({"prompt": "a photo of a smiling nurse"}, True),
        ({"strength": 0.0}, True),
    ],
)
def test_the_snippet_makes_the_picture_again(
    session: Session, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, native: bool
) -> None:
    asked = replace(ASKED, **change)
    files = {name: one.save(tmp_path / file_name(name)) for name, one in session.concepts.items()}
    shown = session.look(asked)
    code = Opened(session, str(tiny_folder), files).snippet(asked, shown)
    assert ("make_scheduler" in code) is not native
    assert ("steer" in code) is bool(shown.targets[0])
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    with Image.open("image.png") as image:
        np.testing.assert_array_equal(np.asarray(image), shown.after[0])


@pytest.mark.parametrize(("family", "size"), [("sd", 16), ("sdxl", None)])
def test_so_does_that_of_another_size_or_family(
    tiny_folder: Path,
    tiny_sdxl_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    size: int | None,
) -> None:
    folder = tiny_sdxl_folder if family == "sdxl" else tiny_folder
    backbone = load_backbone(folder, device="cpu", image_size=size)
    plain = concept(backbone, "female", "gender", "woman", method="sdid", presence=None)
    session, asked = Session(backbone, {"female": plain}), replace(ASKED, concept="female")
    shown = session.look(asked)
    code = Opened(session, str(folder), {"female": plain.save(tmp_path / "female.safetensors")}).snippet(asked, shown)
    assert ("height=16, width=16" in code) is (size == 16)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    with Image.open("image.png") as image:
        np.testing.assert_allclose(np.asarray(image).astype(int), shown.after[0], atol=1)


def test_the_names_of_files_hold_no_path() -> None:
    assert file_name("../../x y") == "_x_y.safetensors"
    assert file_name("dark") == "dark.safetensors"


def test_a_fair_batch_asks_for_each_in_turn_and_counts(
    tiny_backbone: Backbone, concepts: dict[str, Concept], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hspace_studio.session.CHUNK", 2)
    asked = Asked(PROMPT, "male", 1.0, seed=5, steps=2, guidance=6.0)
    alone = [Session(tiny_backbone, concepts).look(replace(asked, seed=5 + i)) for i in range(4)]
    means = [float(one.before.mean()) / 255 for one in alone]
    session = Session(tiny_backbone, concepts, Brightness(sorted(means)[0] + 0.02))  # one is male before, or unclear
    told: list[tuple[str, int, int]] = []
    batch = session.fair(asked, 4, lambda *given: told.append(given))
    assert batch.shown.targets == ("female", "male", "female", "male")
    assert told == [("pictures", 2, 4), ("pictures", 4, 4)]
    for row, one in enumerate(alone):
        np.testing.assert_allclose(batch.shown.before[row].astype(int), one.before[0].astype(int), atol=1)
    edits = [
        replace(asked, seed=5 + i, concept=n, strength=s)
        for i, (n, s) in enumerate([("female", 3.0), ("male", 1.0)] * 2)
    ]
    wanted = [Session(tiny_backbone, concepts).look(one).after[0].astype(int) for one in edits]
    np.testing.assert_allclose(batch.shown.after.astype(int), np.stack(wanted), atol=1)

    read = batch.shown.seen["gender"]
    for moment in (0, 1):
        found = {value: sum(pair[moment] == value for pair in read) for value in ("female", "male", "unclear")}
        assert {value: n[moment] for value, n in batch.counts.items()} == {k: found[k] for k in batch.counts}
        clear = found["female"], found["male"]
        assert batch.ratio is not None
        assert batch.ratio[moment] == pytest.approx(abs(clear[0] - clear[1]) / sum(clear))  # of two classes
    images = sum(pair[1] != "unclear" for pair in read)
    # of 4 even draws: 2 of 16 are all alike (1), 8 are three to one (1/2), 6 are even
    expected = {4: 2 / 16 + 8 / 16 / 2, 3: (2 + 6 / 3) / 8, 2: 0.5, 1: 1.0}
    assert batch.floor == pytest.approx(expected[images])


def test_fair_batches_without_an_answer_have_no_ratio(session: Session, tiny_backbone: Backbone) -> None:
    without_judge = session.fair(replace(ASKED, concept="female"), 2)
    assert (without_judge.counts, without_judge.ratio, without_judge.floor) == ({}, None, None)
    left = session.fair(replace(ASKED, concept="female", prompt="a photo of a man"), 2)
    assert (left.shown.named, left.shown.changed) == (("man",), [False, False])
    judged = Session(tiny_backbone, session.concepts, Brightness(0.0))  # reads "female" in every image
    alone = replace(session.concepts["female"], name="woman", revision="another")
    judged.concepts = {"woman": alone}
    batch = judged.fair(replace(ASKED, concept="woman"), 2)
    assert (batch.counts, batch.ratio) == ({"female": (2, 2), "male": (0, 0)}, None)
    with pytest.raises(UserError, match="needs a concept"):
        session.fair(replace(ASKED, concept=""), 2)


def test_a_concept_that_is_trained_is_told_of_and_can_be_chosen(session: Session, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    options = {"method": "sdid", "images": 2, "steps": 3, "tell": lambda *given: told.append(given)}
    name = session.train("a photo of a smiling person", PERSON, **options)
    assert name == "smiling_2"
    assert [(done, of) for what, done, of in told if what == "train vectors"] == [(1, 3), (2, 3), (3, 3)]
    assert told[-1][1] == told[-1][2]
    own = load_concept(session.concepts[name].save(tmp_path / "own.safetensors"))
    assert (own.name, own.attribute, own.method) == ("smiling_2", "smiling_2", "sdid")
    shown = session.look(replace(ASKED, concept=name, strength=50.0))
    assert shown.changed == [True]
    assert session.strength_of(name) == 2.0
    assert session.strength_of("female") == 3.0


def test_a_backbone_is_trained_on_as_its_pipeline_is(tiny_backbone: Backbone, tiny_folder: Path) -> None:
    prompts: dict[str, Any] = {"positive": "a photo of a smiling person", "neutral": PERSON, "images": 2, "steps": 2}
    pipe = diffusers.DiffusionPipeline.from_pretrained(tiny_folder)
    ours = train_concept(tiny_backbone, **prompts, num_inference_steps=2)
    theirs = train_concept(pipe, **prompts, num_inference_steps=2)
    assert torch.equal(ours.vector, theirs.vector)
    assert (ours.model, ours.revision) == (tiny_backbone.name, tiny_backbone.revision)


def test_a_listener_hears_of_every_item() -> None:
    heard: list[tuple[str, int, int]] = []
    token = LISTENER.set(lambda *given: heard.append(given))
    assert list(track("ab", "letters")) == ["a", "b"]
    LISTENER.reset(token)
    assert heard == [("letters", 1, 2), ("letters", 2, 2)]
    assert list(track("ab", "letters")) == ["a", "b"]
    assert len(heard) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": " "}, "the prompt is empty"),
        ({"concept": "femal"}, "unknown concept 'femal'. Did you mean 'female'"),
        ({"seed": -1}, "a seed of at least 0"),
        ({"scheduler": "euler"}, "unknown scheduler kind"),
        ({"prompt": "nurse " * 40}, "has 40 tokens, this model takes 14"),
    ],
)
def test_what_cannot_be_made_is_one_line(session: Session, change: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as told:
        session.look(replace(ASKED, **change))
    assert "\n" not in str(told.value)


def test_a_concept_of_another_model_is_refused(
    tiny_backbone: Backbone, make_tiny_pipeline: Callable[..., Path], concepts: dict[str, Concept]
) -> None:
    other = replace(concepts["female"], vector=torch.ones(8, 1, 1), h_shape=(8, 4, 4))
    with pytest.raises(UserError, match="train it for this model"):
        Session(tiny_backbone, {"female": other})
