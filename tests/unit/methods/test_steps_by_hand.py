"""What an edit makes of h in single steps, on a U-Net that is its middle block alone; all numbers worked by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from hspace_exp.concepts.concept import Concept
from hspace_exp.methods import focused
from hspace_exp.methods.focused import Focus
from hspace_exp.methods.frequency import LowFrequency
from hspace_exp.methods.steering import AddedVector, Application, Steering, UneditedRuns, Window, low_frequencies
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import edit_hspace
from hspace_exp.models.sampling import Hooks
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.plan import Item

ITEMS = [Item("a photo of a nurse", "nurse", 0, "female"), Item("a photo of a nurse", "nurse", 1, "")]
PROMPTS = {"female": ConceptPrompts(), "male": ConceptPrompts()}
TEN = LowFrequency(0.1, "original", lambda h: 10 * h)  # lambda LL(o) = o


@pytest.fixture
def backbone() -> Backbone:
    """H is (1, 1, 2), and the middle block gives what it gets."""
    unet = nn.Module()
    unet.mid_block = nn.Identity()
    return cast(
        Backbone,
        SimpleNamespace(unet=unet, edited=partial(edit_hspace, unet), device=torch.device("cpu"), h_shape=(1, 1, 2)),
    )


def rows(*values: float) -> Tensor:
    """(B, 1, 1, 2) of one value a row."""
    return torch.tensor(values, dtype=torch.float32)[:, None, None, None].repeat(1, 1, 1, 2)


def step(backbone: Backbone, steering: Steering, done: float, h: Tensor) -> list[list[float]]:
    """Both places of each row of h after the edit."""
    with steering.hooks(done):
        return backbone.unet.mid_block(h)[:, 0, 0].tolist()


def pairs(*values: float) -> list[list[float]]:
    return [[value, value] for value in values]


class Runs:
    """Sampling runs of four guided steps: h of step t is t without the prompt and t / 4 with it, and 1 more a run.

    Latents are h of all steps with the prompt, (B, 4, 2).
    """

    def __init__(self, backbone: Backbone, count: int, guided: bool = True) -> None:
        """No run so far."""
        self.unet, self.count, self.guided = backbone.unet, count, guided
        self.rows: list[Sequence[int] | None] = []
        self.without: list[list[list[float]]] = []

    def __call__(self, hooks: Hooks, rows: Tensor | None = None) -> Tensor:
        """One more run."""
        count, with_prompt = self.count if rows is None else len(rows), []
        self.without.append([])
        for t in range(4):
            h = torch.tensor([t] * (count * self.guided) + [t / 4] * count)[:, None, None, None].repeat(
                1, 1, 1, 2
            ) + len(self.rows)
            with hooks(t / 4):
                half = self.unet.mid_block(h)[:, 0, 0].split(count)
            self.without[-1].append(half[0][0].tolist())
            with_prompt.append(half[-1])
        self.rows.append(None if rows is None else rows.tolist())
        return torch.stack(with_prompt, dim=1)


@pytest.mark.parametrize(
    ("branch", "term", "without", "with_prompt"),
    [
        ("conditional", TEN, 0, 2),
        ("both", TEN, 2, 2),
        ("both", LowFrequency(0.1, "original", lambda h: 10 * h, "conditional"), 2, 2),
        ("conditional", LowFrequency(0.1, "original", lambda h: 10 * h, "both"), 0, 2),
    ],
)
def test_an_added_vector_after_its_unedited_runs(
    backbone: Backbone, branch: str, term: LowFrequency, without: float, with_prompt: float
) -> None:
    vectors = {"female": torch.full((1, 1, 2), 0.5), "male": torch.full((1, 1, 2), 9.0)}
    steering, sample = (
        AddedVector(vectors, 4.0, branch, term, Window(0.5, 1.0))(backbone, ITEMS, True),
        Runs(backbone, 2),
    )
    found = steering.sampled(sample, ITEMS)
    assert sample.rows == [None, [0]]  # the second sample is asked for nothing
    low = float((term.branch or branch) == "both")
    # In the second run h is one more than unedited, and lambda LL adds the unedited h.
    assert sample.without[1] == pairs(1, 2, *(t + 1 + without + low * t for t in (2, 3)))
    assert found[0].tolist() == pairs(1, 1.25, *(t + 1 + with_prompt + t for t in (0.5, 0.75)))
    assert found[1].tolist() == pairs(0, 0.25, 0.5, 0.75)


def test_an_added_vector_and_low_frequencies_of_its_own_h(backbone: Backbone) -> None:
    term = LowFrequency(0.1, "current", lambda h: 10 * h)
    steering = AddedVector({"female": torch.full((1, 1, 1), 0.5)}, 4.0, "conditional", term)(backbone, ITEMS, True)
    assert steering.foresight is None
    assert step(backbone, steering, 0.0, rows(1, 2, 3, 4)) == pairs(1, 2, 3 + 2 + 3, 4)
    unguided = AddedVector({"female": torch.full((1, 1, 1), 0.5)}, 4.0, "conditional", term)(backbone, ITEMS, False)
    assert step(backbone, unguided, 0.0, rows(1, 2)) == pairs(1 + 2 + 1, 2)


def test_low_frequencies_alone_act_in_the_window_on_those_asked_for(backbone: Backbone) -> None:
    of = Application(PROMPTS, {}, 4.0, "both", frequency=TEN, window=Window(0.0, 0.5))
    sample = Runs(backbone, 2)
    found = low_frequencies(of, backbone)(backbone, ITEMS, True).sampled(sample, ITEMS)
    assert sample.without[1] == pairs(1, 2 + 1, 3, 4)
    assert found.tolist() == [pairs(1, 1.25 + 0.25, 1.5, 1.75), pairs(0, 0.25, 0.5, 0.75)]


def concepts(*groups: str) -> dict[str, Concept]:
    """Vectors and means of 1 and -1, so that the score of the first is the mean of h."""
    made = {}
    for group, names in (("gender", ("female", "male")), ("age", ("old", "young"))):
        for name, sign in zip(names, (1.0, -1.0), strict=True):
            vector = torch.full((1, 1, 2), sign)
            if group in groups:
                made[name] = Concept(vector, name, group, "m", "r", (1, 1, 2), "focused", presence=vector.clone())
    return made


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> list[range]:
    """The gate is 1 and .25 for the first sample, .5 and 0 for the second; the rows it was asked to read."""
    read: list[range] = []

    def open_gate(focus: Focus, application: Application, backbone: Backbone, asked: range) -> object:
        read.append(asked)
        return (lambda: torch.tensor([[1.0, 0.25], [0.5, 0.0]])[:, None, None]) if focus.gate else None

    monkeypatch.setattr(Focus, "open_gate", open_gate)
    monkeypatch.setattr(focused, "open_attention_gate", lambda unet, gate: nullcontext())
    return read


def test_the_focused_edit_beside_its_unedited_runs(backbone: Backbone, gated: list[range]) -> None:
    of = Application(PROMPTS, concepts("gender"), 4.0, "conditional", frequency=TEN, window=Window(0.5, 1.0))
    sample = Runs(backbone, 2)
    found = Focus(hold=0.5, adaptive=False, keep=0.0).steer(of, backbone, ITEMS, True).sampled(sample, ITEMS)
    assert (gated, sample.rows) == ([range(2, 4)], [None, [0]])
    # 1 - (1 - hold) G is .5 and .875 for the first sample; its h is one more than unedited, and LL adds the latter.
    assert sample.without[1] == [[t + 1 - 0.5, t + 1 - 0.875] for t in range(4)]
    outside = [[t + 1 - 0.5 + t, t + 1 - 0.875 + t] for t in (0, 0.25)]
    inside = [[t + 1 - 0.5 + 4 * 1 + t, t + 1 - 0.875 + 4 * 0.25 + t] for t in (0.5, 0.75)]
    assert found.tolist() == [outside + inside, pairs(0, 0.25, 0.5, 0.75)]


def test_without_gate_and_hold_the_focused_edit_adds_by_need_of_each_step(
    backbone: Backbone, gated: list[range]
) -> None:
    of = Application(PROMPTS, concepts("gender"), 4.0, "both")
    steering = Focus(gate=None, hold=None, sharpness=1.5).steer(of, backbone, ITEMS, False)
    found = steering.sampled(Runs(backbone, 2, guided=False), ITEMS)
    # An unedited h of t / 4 shows the target by a score of as much.
    need = [2 * (1 - 1 / (1 + math.exp(-2 * 1.5 * t / 4))) for t in range(4)]
    torch.testing.assert_close(found[0, :, 0], torch.tensor([t / 4 + 1 + 4 * need[t] for t in range(4)]))
    assert found[1].tolist() == pairs(0, 0.25, 0.5, 0.75)
    assert gated == [range(2)]


def test_what_is_kept_takes_the_scale_of_guidance() -> None:
    of = Application(PROMPTS, concepts("gender"), 4.0, "conditional", {"age": concepts("age")}, scale=3.0)
    focus = Focus(adaptive=False, keep=0.5, keep_sharpness=1.0)
    strength, total = focus.additions(of, ITEMS, torch.device("cpu"))(rows(0.25, 0.25))
    old = 1 / (1 + math.exp(-2 * 0.25))
    assert strength.tolist() == [1, 0]
    expected = torch.tensor(pairs(4 + 0.5 * 3 * (old - (1 - old)), 0))
    torch.testing.assert_close(total[:, 0, 0], expected)


@pytest.mark.parametrize("release", [True, False])
def test_the_focused_edit_after_its_unedited_runs(backbone: Backbone, gated: list[range], release: bool) -> None:
    of = Application(PROMPTS, concepts("gender"), 4.0, "conditional", frequency=TEN, window=Window(0.0, 0.5))
    focus = Focus(hold=0.5, adaptive=False, keep=0.0, foresight=True, release=release)
    sample = Runs(backbone, 2)
    found = focus.steer(of, backbone, ITEMS[::-1], True).sampled(sample, ITEMS[::-1])
    assert gated == [range(2, 4)]
    assert sample.rows == [None, [1]]
    assert found[0].tolist() == pairs(0, 0.25, 0.5, 0.75)  # asked for nothing
    # The second sample's gate is .5 and 0; its h is one more than unedited, and lambda LL adds the unedited h.
    inside = [[t + 1 - 0.75 + 4 * 0.5 + t, t + 1 - 1 + t] for t in (0, 0.25)]
    pulled = 0.5 if release else 0.75
    outside = [[t + 1 - pulled + t, t + 1 - 1 + t] for t in (0.5, 0.75)]
    assert found[1].tolist() == inside + outside
    free = [[t + 1 - pulled, t] for t in (2, 3)]
    assert sample.without[1] == [[t + 1 - 0.75, t] for t in (0, 1)] + free


def test_foresight_without_guidance(backbone: Backbone, gated: list[range]) -> None:
    of = Application(PROMPTS, concepts("gender"), 4.0, "conditional")
    focus = Focus(hold=0.5, adaptive=False, keep=0.0, foresight=True)
    sample = Runs(backbone, 2, guided=False)
    found = focus.steer(of, backbone, ITEMS[::-1], False).sampled(sample, ITEMS[::-1])
    assert (gated, sample.rows) == ([range(2)], [None, [1]])
    assert found[0].tolist() == pairs(0, 0.25, 0.5, 0.75)
    assert found[1].tolist() == [[t / 4 + 1 - 0.75 + 4 * 0.5, t / 4] for t in range(4)]


def test_foresight_judges_by_the_last_h_with_the_prompt_and_keeps_runs(backbone: Backbone, gated: list[range]) -> None:
    runs = UneditedRuns()
    of = Application(PROMPTS, concepts("gender"), 4.0, "both", runs=runs)
    focus = Focus(gate=None, hold=None, sharpness=2.0, keep=0.0, foresight=True)
    need = 2 * (1 - 1 / (1 + math.exp(-2 * 2.0 * 0.75)))  # the last h is .75
    items = [ITEMS[1], *[Item("a photo of a nurse", "nurse", i, target) for i, target in ((2, "male"), (3, "female"))]]
    sample = Runs(backbone, 3)
    for _ in range(2):
        found = focus.steer(of, backbone, items, True).sampled(sample, items)
        again = len(sample.rows) - 1  # how much more h is in this run
        expected = [[t / 4 + again - 4 for t in range(4)], [t / 4 + again + 4 * need for t in range(4)]]
        assert 0.09 < need < 0.1
        torch.testing.assert_close(found[1, :, 0], torch.tensor(expected[0]))
    assert sample.rows == [None, [1], [1]]
    assert found[2].tolist() == pairs(0, 0.25, 0.5, 0.75)  # needs less than a tenth
