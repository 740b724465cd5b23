from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from benchmarks.recording import record_hspace
from hspace_exp.errors import UserError
from hspace_exp.io.seeding import LEARNING, initial_noise
from hspace_exp.methods.learning import OnPolicy
from hspace_exp.methods.score_matching import ScoreMatching
from hspace_exp.methods.task import Trajectories
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.devices import free_bytes
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.wording import wordings
from hspace_exp.training.dataset import cached
from hspace_exp.training.on_policy import OnPolicyStates, in_turn, presence_of, sample_trajectories

POSITIVE, NEUTRAL = "a photo of a woman", "a photo of a person"
PROMPTS = {"female": ConceptPrompts(positive=POSITIVE, neutral=NEUTRAL, words="woman", adjective="female")}
OLD = ConceptPrompts(positive="a photo of an old person", neutral=NEUTRAL, words="old")
SUBJECTS = ("person", "nurse", "doctor")
SAMPLING = Sampling(4, lambda scheduler: make_scheduler(scheduler, "native"), chunk_size=2)


def runs(backbone: Backbone, prompt: str, count: int = 3) -> Trajectories:
    return Trajectories(**sample_trajectories(backbone, SAMPLING, in_turn([prompt], range(count)), 0))


def states(
    backbone: Backbone, kept_bytes: int = 2**30, timesteps: Sequence[int] = (0, 1000), steps: int | None = None
) -> OnPolicyStates:
    both = {"female": [runs(backbone, prompt) for prompt in (NEUTRAL, POSITIVE)]}
    settings = OnPolicy(kept_bytes=kept_bytes)
    return OnPolicyStates(backbone, PROMPTS, both, settings, batch_size=5, timesteps=timesteps, steps=steps)


@pytest.mark.parametrize("kept_bytes", [2**30, 0])
def test_states_that_no_step_draws_are_not_asked_about(tiny_backbone: Backbone, kept_bytes: int) -> None:
    every, few = (states(tiny_backbone, kept_bytes, steps=steps) for steps in (None, 2))
    assert len(every.latents) == len(every.teacher["female"]) == 24
    assert len(few.latents) == len(few.teacher["female"]) <= 10
    assert few.passes("female") < every.passes("female")
    for step in range(2):
        one, other = every.draw(step), few.draw(step)
        assert torch.equal(one.latents, other.latents)
        assert torch.equal(one.timesteps, other.timesteps)
        assert one.teacher is not None
        assert other.teacher is not None
        torch.testing.assert_close(one.teacher, other.teacher)
        assert torch.equal(one.embeds.encoder_hidden_states, other.embeds.encoder_hidden_states)
        if kept_bytes:
            assert one.encoded is not None
            assert other.encoded is not None
            torch.testing.assert_close(one.encoded.h, other.encoded.h, atol=2e-3, rtol=2e-3)


def test_runs_start_at_the_noise_and_are_those_of_sampling(tiny_backbone: Backbone) -> None:
    found = runs(tiny_backbone, POSITIVE)
    assert found.latents.shape == (3, 4, *tiny_backbone.latent_shape)
    noise = torch.stack([initial_noise(POSITIVE, i, tiny_backbone.latent_shape, 0, LEARNING) for i in range(3)])
    torch.testing.assert_close(found.latents[:, 0], noise)
    assert found.timesteps[0].tolist() == sorted(found.timesteps[0].tolist(), reverse=True)
    assert torch.equal(found.timesteps[0], found.timesteps[2])
    seen: list[torch.Tensor] = []
    SAMPLING(
        tiny_backbone,
        noise[:2],
        tiny_backbone.encode_prompts([POSITIVE]).expand(2),
        on_step=lambda step, t, latents: seen.append(latents),
    )
    torch.testing.assert_close(found.latents[:2], torch.stack(seen, 1))


def test_runs_come_from_the_cache_when_they_are_there(tiny_backbone: Backbone, tmp_path: Path) -> None:
    asked: list[list[tuple[str, int]]] = []

    def make(wanted: Sequence[tuple[str, int]]) -> dict[str, torch.Tensor]:
        asked.append(list(wanted))
        return sample_trajectories(tiny_backbone, SAMPLING, wanted, 0)

    neutral, both = tmp_path / "neutral", tmp_path / "both"
    first = cached({neutral: in_turn([NEUTRAL], range(3))}, make, "runs")[neutral]["latents"]
    assert asked.pop() == [(NEUTRAL, 0), (NEUTRAL, 1), (NEUTRAL, 2)]
    fewer = cached({neutral: in_turn([NEUTRAL], range(2))}, make, "runs")[neutral]["latents"]
    assert torch.equal(first[:2], fewer)
    assert not asked

    wanted = {both: in_turn([NEUTRAL, POSITIVE], range(3)), neutral: in_turn([NEUTRAL], range(3))}
    found = cached(wanted, make, "runs")
    assert asked.pop() == [(NEUTRAL, 0), (POSITIVE, 0), (NEUTRAL, 1)]  # only what is missing
    assert torch.equal(first, found[neutral]["latents"])
    torch.testing.assert_close(found[both]["latents"][0], first[0], rtol=1e-4, atol=1e-4)
    again = cached(wanted, make, "runs")
    assert not asked
    for folder in wanted:
        for kind in ("latents", "timesteps"):
            assert torch.equal(again[folder][kind], found[folder][kind])


@pytest.mark.parametrize(("at_once", "sizes"), [(8, [32, 8, 32, 8]), (64, [40, 40]), (200, [80])])
def test_missing_runs_of_several_prompts_are_made_together(tmp_path: Path, at_once: int, sizes: list[int]) -> None:
    made: list[int] = []

    def make(wanted: Sequence[tuple[str, int]]) -> dict[str, torch.Tensor]:
        made.append(len(wanted))
        numbers = torch.tensor([[1000.0 * (prompt == POSITIVE) + i] for prompt, i in wanted])
        return {"latents": numbers, "timesteps": numbers.long()}

    a, b = tmp_path / "a", tmp_path / "b"
    for _ in range(2):  # made, and read
        found = cached({a: in_turn([NEUTRAL], range(40)), b: in_turn([POSITIVE], range(40))}, make, "runs", at_once)
        assert found[a]["latents"][:, 0].tolist() == list(range(40))
        assert found[b]["timesteps"][:, 0].tolist() == list(range(1000, 1040))
    assert made == sizes


def test_kept_halves_give_the_losses_of_whole_passes(tiny_backbone: Backbone) -> None:
    kept, computed = states(tiny_backbone), states(tiny_backbone, kept_bytes=0)
    assert kept.encoded is not None
    assert computed.encoded is None
    vectors = torch.randn(5, *tiny_backbone.h_shape, generator=torch.Generator().manual_seed(0))
    objective = ScoreMatching()
    for step in (0, 3):
        losses = [objective(tiny_backbone, vectors, examples.draw(step)) for examples in (kept, computed)]
        torch.testing.assert_close(losses[0], losses[1], rtol=1e-2, atol=1e-4)


def test_halves_are_kept_where_a_third_of_the_free_memory_takes_them(
    tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = states(tiny_backbone)
    assert examples.encoded is not None
    taken = examples.encoded.bytes_a_row * len(examples.times)
    for free, kept in ((None, True), (3 * taken + 9, True), (3 * taken - 9, False)):
        monkeypatch.setattr("hspace_exp.training.on_policy.free_bytes", lambda device, free=free: free)
        assert (states(tiny_backbone).encoded is not None) is kept


def test_nothing_is_known_of_the_free_memory_of_a_cpu() -> None:
    assert free_bytes(torch.device("cpu")) is None


def test_passes_take_as_many_rows_as_the_model_allows(tiny_backbone: Backbone) -> None:
    whole = states(tiny_backbone)
    tiny_backbone.micro_batch_size = 4
    with record_hspace(tiny_backbone.unet) as seen:
        parts = states(tiny_backbone)
    assert max(len(h) for h in seen) == 8
    torch.testing.assert_close(parts.teacher, whole.teacher, rtol=1e-4, atol=1e-5)
    assert parts.encoded is not None
    assert whole.encoded is not None
    torch.testing.assert_close(parts.encoded.h, whole.encoded.h, rtol=1e-2, atol=1e-3)


def test_score_matching_is_the_distance_to_the_frozen_model_under_the_positive_prompt(tiny_backbone: Backbone) -> None:
    batch = states(tiny_backbone, kept_bytes=0).draw(1)
    zero = torch.zeros(5, *tiny_backbone.h_shape)
    neutral, positive = (
        tiny_backbone.predict(batch.latents, batch.timesteps, tiny_backbone.encode_prompts([prompt]).expand(5))
        for prompt in (NEUTRAL, POSITIVE)
    )
    expected = (positive - neutral).square().mean((1, 2, 3))
    torch.testing.assert_close(ScoreMatching()(tiny_backbone, zero, batch), expected, rtol=1e-4, atol=1e-7)
    assert expected.min() > 0


def test_a_step_sees_the_same_states_whenever_it_is_drawn_and_only_allowed_timesteps(tiny_backbone: Backbone) -> None:
    examples = states(tiny_backbone, timesteps=(500, 1000))
    late = examples.draw(9)
    examples.draw(2)
    assert torch.equal(examples.draw(9).latents, late.latents)
    assert not torch.equal(examples.draw(8).latents, late.latents)
    assert min(int(examples.draw(step).timesteps.min()) for step in range(10)) >= 500
    with pytest.raises(UserError, match="widen"):
        states(tiny_backbone, timesteps=(0, 1))


def test_presence_is_the_mean_of_h_under_the_neutral_prompt(tiny_backbone: Backbone) -> None:
    found = runs(tiny_backbone, POSITIVE, 2)
    total = torch.zeros(tiny_backbone.h_shape)
    for run in range(2):
        for step in range(4):
            with record_hspace(tiny_backbone.unet) as seen:
                embeds = tiny_backbone.encode_prompts([NEUTRAL])
                tiny_backbone.predict(found.latents[run, step][None], found.timesteps[run, step], embeds)
            total += seen[0][0]
    torch.testing.assert_close(presence_of(tiny_backbone, found, [NEUTRAL]), total / 8, rtol=1e-4, atol=1e-5)


def test_runs_of_several_prompts_take_turns_with_the_noises_of_each(tiny_backbone: Backbone) -> None:
    both = sample_trajectories(tiny_backbone, SAMPLING, in_turn([NEUTRAL, POSITIVE], range(5)), 0)["latents"]
    for own, prompt in ((both[0::2], NEUTRAL), (both[1::2], POSITIVE)):
        torch.testing.assert_close(own, runs(tiny_backbone, prompt, len(own)).latents, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kept_bytes", [0, 2**30])
def test_each_state_meets_the_prompts_of_its_own_subject(tiny_backbone: Backbone, kept_bytes: int) -> None:
    prompts = {**PROMPTS, "old": OLD}
    worded = {name: wordings(some, SUBJECTS) for name, some in prompts.items()}
    found = {
        name: [
            Trajectories(**sample_trajectories(tiny_backbone, SAMPLING, in_turn(kind, range(4)), 0))
            for kind in (some.neutral, some.positive)
        ]
        for name, some in worded.items()
    }
    found["old"][0] = found["female"][0]  # both are of the same neutral prompts
    settings = OnPolicy(subjects=SUBJECTS, kept_bytes=kept_bytes)
    examples = OnPolicyStates(tiny_backbone, prompts, found, settings, batch_size=6)
    batch = examples.draw(2)
    assert batch.teacher is not None
    subjects = set()
    for row in range(12):
        some = worded[("female", "old")[row // 6]]
        for k, (neutral, positive) in enumerate(zip(some.neutral, some.positive, strict=True)):
            embeds = tiny_backbone.encode_prompts([neutral, positive])
            if torch.equal(embeds.encoder_hidden_states[0], batch.embeds.encoder_hidden_states[row]):
                state = batch.latents[row][None], batch.timesteps[row][None]
                taught = tiny_backbone.predict(*state, embeds.index([1]))
                torch.testing.assert_close(batch.teacher[row], taught[0], rtol=1e-3, atol=1e-4)
                runs_of_k = torch.cat([own.latents[k::3].flatten(0, 1) for own in found[("female", "old")[row // 6]]])
                assert (runs_of_k == batch.latents[row]).flatten(1).all(1).any()
                subjects.add(k)
                break
        else:
            pytest.fail("a row of none of the prompts")
    assert len(subjects) == 3
    assert len(examples.latents) == 3 * 4 * 4  # the runs that are shared are there once
    assert {name: len(used) for name, used in examples.used.items()} == {"female": 32, "old": 32}


def test_presence_is_read_under_the_prompt_of_each_runs_subject(tiny_backbone: Backbone) -> None:
    worded = wordings(PROMPTS["female"], ("person", "nurse"))
    both = Trajectories(**sample_trajectories(tiny_backbone, SAMPLING, in_turn(worded.positive, range(4)), 0))
    parts = [
        presence_of(tiny_backbone, Trajectories(both.latents[k::2], both.timesteps[k::2]), [worded.neutral[k]])
        for k in (0, 1)
    ]
    assert not torch.allclose(parts[0], parts[1], rtol=1e-3)
    torch.testing.assert_close(
        presence_of(tiny_backbone, both, worded.neutral), (parts[0] + parts[1]) / 2, rtol=1e-4, atol=1e-5
    )
